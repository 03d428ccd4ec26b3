// Package kubernetes, with the packages below it, replaces the Go SDK as far as the provider names it.
//
// The provider uses the SDK in its components alone (`yaml:v2:ConfigGroup`, `helm.sh/v4:Chart`), which no program here has. The real one has
// a type for each kind of Kubernetes; compiling them takes longer than all other packages of the provider.
package kubernetes

import "reflect"

// UntypedArgs are the properties of an object that has no type.
type UntypedArgs map[string]any

// ElementType makes the arguments an input.
func (UntypedArgs) ElementType() reflect.Type {
	return reflect.TypeFor[map[string]any]()
}
