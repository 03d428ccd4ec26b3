// Package metrics has no metric: no usage event is sent.
package metrics

// CollectorOption is an option of a collector.
type CollectorOption struct{}

// WithCollectorNamespace does nothing.
func WithCollectorNamespace(string) CollectorOption { return CollectorOption{} }

// WithCollectorBatchDeliveryDurationBuckets does nothing.
func WithCollectorBatchDeliveryDurationBuckets([]float64) CollectorOption { return CollectorOption{} }
