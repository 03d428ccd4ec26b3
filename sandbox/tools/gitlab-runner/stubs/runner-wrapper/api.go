// Package api has the types of the `wrapper` command, which the sandbox's gitlab-runner does not have.
package api

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"
)

// Status is the state of a wrapped process.
type Status int

// The states that the runner names.
const (
	StatusUnknown Status = iota
	StatusRunning
	StatusInShutdown
	StatusStopped
)

// String says that there is no wrapper.
func (Status) String() string { return "no wrapper" }

// ErrProcessNotInitialized is the error of a wrapper without a process.
var ErrProcessNotInitialized = errors.New("no wrapped process")

// ShutdownCallback is called when a wrapped process ends.
type ShutdownCallback interface{ Run(ctx context.Context) }

// ShutdownCallbackDef describes a callback.
type ShutdownCallbackDef interface {
	URL() string
	Method() string
}

// InitGracefulShutdownRequest asks a wrapped process to end.
type InitGracefulShutdownRequest interface {
	ShutdownCallbackDef() ShutdownCallbackDef
}

type nothing struct{}

func (nothing) Run(context.Context) {}

// NewShutdownCallback returns a callback that does nothing.
func NewShutdownCallback(logrus.FieldLogger, ShutdownCallbackDef) ShutdownCallback { return nothing{} }
