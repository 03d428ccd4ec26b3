// Package client has the requests and answers of the step runner.
package client

import "time"

// State is the state of a job of steps.
type State int

// The states that the runner names.
const (
	StateUnknown State = iota
	StateSuccess
	StateCancelled
)

// String says that there is no step runner.
func (State) String() string { return "no step runner" }

// ErrorKind is the cause of a failure.
type ErrorKind int

// The causes that the runner names.
const (
	ErrorUnknown ErrorKind = iota
	ErrorInternal
	ErrorStepFailure
	ErrorCancelled
	ErrorTimeout
)

// Status is the state of a job of steps, with its cause.
type Status struct {
	State     State
	ErrorKind ErrorKind
	Message   string
}

// Variable is a variable of a job.
type Variable struct {
	Key, Value   string
	File, Masked bool
}

// RunRequest asks for the steps of a job.
type RunRequest struct {
	Id, WorkDir, BuildDir, Steps string
	Timeout                      *time.Duration
	Env                          map[string]string
	Variables                    []Variable
}
