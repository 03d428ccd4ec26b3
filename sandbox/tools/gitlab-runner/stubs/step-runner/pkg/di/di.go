// Package di assembles the step runner, which the sandbox's gitlab-runner does not have.
package di

import (
	"errors"
	"log/slog"

	"gitlab.com/gitlab-org/step-runner/pkg/runner"
	"gitlab.com/gitlab-org/step-runner/proto"
)

// Option configures a container.
type Option func()

// Container assembles nothing.
type Container struct{}

// WithBuiltinFunc drops the function.
func WithBuiltinFunc(string, runner.BuiltinFunction) Option { return nil }

// WithOperatorLogger drops the logger.
func WithOperatorLogger(*slog.Logger) Option { return nil }

// NewContainer returns an empty container.
func NewContainer(...Option) *Container { return &Container{} }

// StepRunnerService refuses.
func (*Container) StepRunnerService() (proto.StepRunnerServer, error) {
	return nil, errors.New("the sandbox's gitlab-runner has no step runner")
}
