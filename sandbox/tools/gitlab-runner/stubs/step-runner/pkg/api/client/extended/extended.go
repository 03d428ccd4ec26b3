// Package extended refuses jobs with `run:` and those of FF_CONCRETE: the sandbox's gitlab-runner has no step runner.
package extended

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"gitlab.com/gitlab-org/step-runner/pkg/api/client"
)

var errRefused = errors.New("the sandbox's gitlab-runner has no step runner; use `script:`, and no FF_CONCRETE")

// Dialer connects to a step runner.
type Dialer interface {
	Dial() (*grpc.ClientConn, error)
}

// FollowOutput takes the output of a job.
type FollowOutput struct{ Logs io.Writer }

// Client is never made.
type Client struct{}

// New refuses.
func New(Dialer) (*Client, error) { return nil, errRefused }

// CloseConn does nothing.
func (*Client) CloseConn() error { return nil }

// Cancel refuses.
func (*Client) Cancel(context.Context, string) error { return errRefused }

// RunAndFollow refuses.
func (*Client) RunAndFollow(context.Context, *client.RunRequest, *FollowOutput) (client.Status, error) {
	return client.Status{}, errRefused
}
