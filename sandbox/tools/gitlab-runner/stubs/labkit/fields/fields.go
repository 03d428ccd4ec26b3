// Package fields names fields of log lines. No name counts as deprecated, so the runner logs the names that it always had.
package fields

// Names that the runner asks for.
const (
	HTTPStatusCode = "status"
	DurationS      = "duration_s"
)

// Replacement is the new name of a field.
type Replacement struct{ Standard string }

// Deprecated is empty.
var Deprecated = map[string]Replacement{}

// VariantVersion is empty.
var VariantVersion = map[string]int{}
