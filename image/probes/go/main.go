// Prints the identity of this process in AWS, through the AWS SDK for Go v2, as one JSON line.
//
// The line is {"arn", "account", "expires"} or {"error", "kind"}; docs/operate/prove.md lists the kinds.
// Usage: probe-go PROFILE. An empty PROFILE selects none. The environment is used as it is.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

const patience = 55 * time.Second

type identity struct {
	Arn     string  `json:"arn"`
	Account string  `json:"account"`
	Expires *string `json:"expires"`
}

type refusal struct {
	Error string `json:"error"`
	Kind  string `json:"kind"`
}

func main() {
	profile := ""
	if len(os.Args) > 1 {
		profile = os.Args[1]
	}
	who, err := ask(profile)
	if err != nil {
		say(refusal{Error: err.Error(), Kind: kind(err)})
		os.Exit(1)
	}
	say(who)
}

func say(answer any) {
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(1)
	}
}

func ask(profile string) (*identity, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var options []func(*config.LoadOptions) error
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	settings, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	caller, err := sts.NewFromConfig(settings).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, err
	}
	who := &identity{Arn: *caller.Arn, Account: *caller.Account}
	credentials, err := settings.Credentials.Retrieve(ctx)
	if err == nil && credentials.CanExpire {
		end := credentials.Expires.UTC().Format(time.RFC3339)
		who.Expires = &end
	}
	return who, nil
}

// kind names a failure. An error of STS keeps its own code.
func kind(err error) string {
	var answered smithy.APIError
	var noProfile config.SharedConfigProfileNotExistError
	var noAssume config.SharedConfigAssumeRoleError
	var noFile *fs.PathError
	var network net.Error
	switch {
	case errors.As(err, &answered):
		return answered.ErrorCode()
	case errors.As(err, &noProfile):
		return "ProfileNotFound"
	case errors.As(err, &noAssume):
		return "Configuration"
	case errors.As(err, &noFile):
		return "TokenFile"
	case errors.As(err, &network):
		return "Unreachable"
	}
	return "Unknown"
}
