// Package server serves nothing: the sandbox's gitlab-runner has no `wrapper` command.
package server

import "net"

// Server does nothing.
type Server struct{}

// New returns a server that does nothing.
func New(_, _ any) *Server { return &Server{} }

// Listen closes the listener.
func (*Server) Listen(listener net.Listener) { _ = listener.Close() }

// Stop does nothing.
func (*Server) Stop() {}
