// Package runner has the types of built-in steps; no step ever runs.
package runner

import (
	"context"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gitlab.com/gitlab-org/step-runner/proto"
)

// Kind is the type of an input.
type Kind int

// Kinds of inputs.
const (
	KindString Kind = iota
	KindBool
	KindList
)

// BuiltinContext is the surroundings of a step.
type BuiltinContext interface {
	GetInput(name string, kind Kind) (*structpb.Value, error)
	GetInputWithDefault(name string, kind Kind, inputs map[string]*proto.Spec_Content_Input) (*structpb.Value, error)
	GetJobVars() map[string]*structpb.Value
	GetEnvs() map[string]string
	GetEnvList() []string
	ListenCancel(ctx context.Context) (context.Context, context.CancelFunc)
	Pipe() (stdout, stderr io.Writer)
	WorkDir() string
	GracefulExitDelay() time.Duration
}

// BuiltinResult is the result of a step.
type BuiltinResult struct{}

// BuiltinFunction is a step that the runner brings along.
type BuiltinFunction interface {
	Spec() *proto.Spec
	Run(ctx context.Context, surroundings BuiltinContext) (BuiltinResult, error)
}
