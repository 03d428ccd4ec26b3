// Package proxy joins a program with the step runner, which the sandbox's gitlab-runner does not have.
package proxy

import (
	"errors"
	"io"
	"net"
)

// Proxy refuses.
func Proxy(io.Reader, io.Writer, net.Conn) error {
	return errors.New("the sandbox's gitlab-runner has no step runner")
}
