// Package snowplow refuses to send usage events to GitLab; only the setting `usage_logger` asks for it.
package snowplow

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"gitlab.com/gitlab-org/labkit/v2/events/snowplow/metrics"
	"gitlab.com/gitlab-org/labkit/v2/events/snowplow/oidc"
)

var errRefused = errors.New("the sandbox's gitlab-runner sends no usage events; leave `usage_logger` out")

// SendResult describes a batch of events.
type SendResult struct {
	EventCount int
	StatusCode int
	Err        error
}

// SendCallback takes the results of a batch.
type SendCallback func(successes, failures []SendResult)

// EmitterOption is an option of an emitter.
type EmitterOption struct{}

// WithCallback does nothing.
func WithCallback(SendCallback) EmitterOption { return EmitterOption{} }

// WithTokenSource does nothing.
func WithTokenSource(*oidc.Source) EmitterOption { return EmitterOption{} }

// WithMetricsCollectorOptions does nothing.
func WithMetricsCollectorOptions(...metrics.CollectorOption) EmitterOption { return EmitterOption{} }

// Emitter is never made.
type Emitter struct{}

// NewEmitter refuses.
func NewEmitter(string, ...EmitterOption) (*Emitter, error) { return nil, errRefused }

// Collector returns a collector without a metric.
func (*Emitter) Collector() prometheus.Collector { return prometheus.NewRegistry() }

// Tracker is never made.
type Tracker struct{}

// NewTracker refuses.
func NewTracker(string, *Emitter) (*Tracker, error) { return nil, errRefused }

// TrackBillingEventWithOptionalInput refuses.
func (*Tracker) TrackBillingEventWithOptionalInput(BillingEventRequiredInput, BillingEventOptionalInput) error {
	return errRefused
}

// Stop does nothing.
func (*Tracker) Stop() {}

// BillingEventRequiredInput describes an event.
type BillingEventRequiredInput struct {
	Category, EventType, Realm, UnitOfMeasure string
	Quantity                                  float64
}

// BillingEventOptionalInput describes an event further.
type BillingEventOptionalInput struct {
	Subject, DeploymentType, InstanceID, UniqueInstanceID   string
	ProjectID, NamespaceID, RootNamespaceID, OrganizationID int64
	Metadata                                                map[string]any
}
