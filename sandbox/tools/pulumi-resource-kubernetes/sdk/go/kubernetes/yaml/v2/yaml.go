// Package v2 stands for the SDK's components for YAML.
package v2

import (
	"errors"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// RegisterResource refuses the objects of a component: this build has no types to register them with.
func RegisterResource(_ *pulumi.Context, apiVersion, kind, name string, _ pulumi.Input, _ ...pulumi.ResourceOption) (pulumi.CustomResource, error) {
	return nil, errors.New(apiVersion + " " + kind + " " + name + ": this build of the provider has no components; register the object itself")
}
