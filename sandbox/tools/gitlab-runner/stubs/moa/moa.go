// Package moa refuses the expressions of job inputs (`${{ job.inputs.x }}`). A job without inputs never gets here.
package moa

import (
	"errors"

	"gitlab.com/gitlab-org/moa/ast"
)

// ParseTemplate refuses.
func ParseTemplate(string) (ast.Expr, error) {
	return nil, errors.New("the sandbox's gitlab-runner has no job inputs; use variables")
}

// EscapeTemplate returns the text as it is.
func EscapeTemplate(text string) string { return text }
