// Package proto describes the inputs of built-in steps, which the sandbox's gitlab-runner declares and never runs.
package proto

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// ValueType is the type of an input.
type ValueType int

// Types of inputs.
const (
	ValueType_string ValueType = iota
	ValueType_boolean
	ValueType_array
)

// Spec is the declaration of a step.
type Spec struct {
	Spec *Spec_Content
}

// GetSpec returns the content.
func (s *Spec) GetSpec() *Spec_Content { return s.Spec }

// Spec_Content has the inputs of a step.
type Spec_Content struct {
	Inputs map[string]*Spec_Content_Input
}

// GetInputs returns the inputs by name.
func (c *Spec_Content) GetInputs() map[string]*Spec_Content_Input { return c.Inputs }

// Spec_Content_Input is one input.
type Spec_Content_Input struct {
	Type      ValueType
	Default   *structpb.Value
	Sensitive bool
}

// StepRunnerServer is the service; nothing implements it.
type StepRunnerServer any

// RegisterStepRunnerServer registers nothing.
func RegisterStepRunnerServer(grpc.ServiceRegistrar, StepRunnerServer) {}
