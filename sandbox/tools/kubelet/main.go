// A kubelet that reports a larger machine than it runs on, so that the job pods of a big runner class are scheduled.
//
// It is the real kubelet except for MachineInfo: the environment variables NODE_CPUS and NODE_MEMORY_BYTES, where set, replace the number of
// processors and the bytes of memory. It takes a configuration file and the flags that have no field in it.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	"github.com/spf13/pflag"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
)

// largerMachine is cAdvisor with another size of the machine.
type largerMachine struct {
	cadvisor.Interface
	cpus   int
	memory uint64
}

func (machine largerMachine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	info, err := machine.Interface.MachineInfo()
	if err != nil {
		return nil, err
	}
	larger := info.Clone()
	if machine.cpus > 0 {
		larger.NumCores = machine.cpus
	}
	if machine.memory > 0 {
		larger.MemoryCapacity = machine.memory
	}
	return larger, nil
}

func main() {
	if err := run(genericapiserver.SetupSignalContext()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	server, err := parse(ctx)
	if err != nil {
		return err
	}
	dependencies, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return err
	}
	images := cadvisor.NewImageFsInfoProvider(server.ContainerRuntimeEndpoint)
	legacy := cadvisor.UsingLegacyCadvisorStats(server.ContainerRuntimeEndpoint)
	machine, err := cadvisor.New(images, server.RootDirectory, []string{server.CgroupRoot}, legacy, server.LocalStorageCapacityIsolation)
	if err != nil {
		return err
	}
	cpus, _ := strconv.Atoi(os.Getenv("NODE_CPUS"))
	memory, _ := strconv.ParseUint(os.Getenv("NODE_MEMORY_BYTES"), 10, 64)
	dependencies.CAdvisorInterface = largerMachine{Interface: machine, cpus: cpus, memory: memory}
	return app.Run(ctx, server, dependencies, utilfeature.DefaultFeatureGate)
}

func parse(ctx context.Context) (*options.KubeletServer, error) {
	flags := options.NewKubeletFlags()
	set := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	flags.AddFlags(set)
	if err := set.Parse(os.Args[1:]); err != nil {
		return nil, err
	}
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, flags.KubeletConfigFile)
	if err != nil {
		return nil, err
	}
	configuration, err := loader.Load(ctx)
	if err != nil {
		return nil, err
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(configuration.FeatureGates); err != nil {
		return nil, err
	}
	logs.InitLogs()
	if err := logsapi.ValidateAndApply(&configuration.Logging, utilfeature.DefaultFeatureGate); err != nil {
		return nil, err
	}
	return &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *configuration}, nil
}
