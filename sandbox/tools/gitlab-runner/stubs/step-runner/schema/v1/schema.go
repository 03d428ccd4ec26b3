// Package schema describes steps as they stand in a job's `run:`.
package schema

// Step is one step, or a list of steps.
type Step struct {
	Name   *string    `json:"name,omitempty" yaml:"name,omitempty"`
	Step   any        `json:"step,omitempty" yaml:"step,omitempty"`
	Inputs StepInputs `json:"inputs,omitempty" yaml:"inputs,omitempty"`
	Run    []Step     `json:"run,omitempty" yaml:"run,omitempty"`
}

// StepInputs are the inputs of a step.
type StepInputs map[string]any
