// The GitLab Runner of the sandbox: GitLab's own code with the executors of the platform's classes, and the commands that
// the Helm chart, the managers on instances and the sandbox use. README.md says what it lacks.
package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli"

	"gitlab.com/gitlab-org/gitlab-runner/commands"
	"gitlab.com/gitlab-org/gitlab-runner/commands/helpers"
	"gitlab.com/gitlab-org/gitlab-runner/common"
	"gitlab.com/gitlab-org/gitlab-runner/executors"
	"gitlab.com/gitlab-org/gitlab-runner/executors/custom"
	"gitlab.com/gitlab-org/gitlab-runner/executors/docker"
	"gitlab.com/gitlab-org/gitlab-runner/executors/kubernetes"
	"gitlab.com/gitlab-org/gitlab-runner/log"
	"gitlab.com/gitlab-org/gitlab-runner/network"

	_ "gitlab.com/gitlab-org/gitlab-runner/cache/s3v2"
	_ "gitlab.com/gitlab-org/gitlab-runner/shells"
)

// autoscaler has the options and features of docker-autoscaler, so its configuration is read, and it takes no job: the
// modules that start instances are not on the Go module proxy.
type autoscaler struct {
	common.ExecutorProvider
}

func (autoscaler) Acquire(*common.RunnerConfig) (common.ExecutorData, error) {
	return nil, errors.New("the sandbox's runner has no fleeting: docker-autoscaler takes no job here")
}

func main() {
	inDocker := docker.NewProvider()
	providers := executors.NewProviderRegistry(map[string]common.ExecutorProvider{
		"custom":                  custom.NewProvider("gitlab-runner"),
		"docker":                  inDocker,
		"docker-autoscaler":       autoscaler{inDocker},
		common.ExecutorKubernetes: kubernetes.NewProvider(),
	})
	requests := network.NewAPIRequestsCollector()
	client := network.NewGitLabClient(
		network.WithAPIRequestsCollector(requests),
		network.WithCertificateDirectory(commands.GetDefaultCertificateDirectory()),
		network.WithExecutorProviderFunc(providers.GetByName),
	)

	app := cli.NewApp()
	app.Name = filepath.Base(os.Args[0])
	app.Usage = "a GitLab Runner for the sandbox"
	app.Version = common.AppVersion.ShortLine()
	cli.VersionPrinter = common.AppVersion.Printer
	app.Commands = []cli.Command{
		commands.NewLintCommand(),
		commands.NewListCommand(),
		commands.NewRegisterCommand(client, providers),
		commands.NewRunCommand(client, requests, providers),
		commands.NewRunSingleCommand(client, providers),
		commands.NewUnregisterCommand(client),
		commands.NewVerifyCommand(client),
		helpers.NewHealthCheckCommand(),
	}
	log.ConfigureLogging(app)
	if err := app.Run(os.Args); err != nil {
		logrus.Fatal(err)
	}
}
