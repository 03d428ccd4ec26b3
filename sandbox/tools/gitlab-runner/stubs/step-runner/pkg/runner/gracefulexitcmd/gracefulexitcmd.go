// Package gracefulexitcmd makes the commands of steps.
package gracefulexitcmd

import (
	"context"
	"os/exec"
	"time"
)

// New returns a command that gets time to end when its context does.
func New(ctx context.Context, delay time.Duration, name string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, arguments...)
	command.WaitDelay = delay
	return command
}
