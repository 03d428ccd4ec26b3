// Package cron refuses schedules: idle pods (`[runners.kubernetes.autoscaler]`) need them.
package cron

import (
	"errors"
	"time"
)

// Schedule is never made.
type Schedule struct{}

// Contains says no.
func (Schedule) Contains(time.Time) bool { return false }

// Parse refuses.
func Parse(_, _ string) (Schedule, error) {
	return Schedule{}, errors.New("the sandbox's gitlab-runner has no schedules for idle pods; leave `autoscaler` out")
}
