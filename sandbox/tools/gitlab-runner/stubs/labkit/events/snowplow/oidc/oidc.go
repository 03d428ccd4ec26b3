// Package oidc makes no token: no usage event is sent.
package oidc

// Option is an option of a source.
type Option struct{}

// Source has no token.
type Source struct{}

// NewSource returns a source without a token.
func NewSource(...Option) *Source { return &Source{} }

// WithSkipIfUnsupportedCloud does nothing.
func WithSkipIfUnsupportedCloud(bool) Option { return Option{} }
