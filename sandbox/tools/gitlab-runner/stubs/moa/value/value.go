// Package value holds the values of job inputs. They are read and kept; the expressions that would use them are refused.
package value

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// Kind is the type of a value.
type Kind int

// The kinds of JSON.
const (
	NullKind Kind = iota
	BoolKind
	NumberKind
	StringKind
	ArrayKind
	ObjectKind
)

// Errors of lookups.
var (
	ErrAttributeNotFound = errors.New("attribute not found")
	ErrInvalidKey        = errors.New("invalid key")
)

// Mapper is an object.
type Mapper interface {
	All() iter.Seq2[Value, Value]
	Attr(name string) (Value, error)
	Get(key Value) (Value, error)
	Keys() iter.Seq[Value]
	Len() int
	Values() iter.Seq[Value]
	WithMarks(marks uint16) Mapper
}

// Value is a value of JSON, or a Mapper.
type Value struct {
	content any
	marks   uint16
}

// Null returns the value of nothing.
func Null() Value { return Value{} }

// String returns a text's value.
func String(text string) Value { return Value{content: text} }

// Object returns an object's value.
func Object(object Mapper) Value { return Value{content: object} }

// UnmarshalJSON reads any JSON.
func (value *Value) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &value.content) }

// Kind returns the type.
func (value Value) Kind() Kind {
	switch value.content.(type) {
	case bool:
		return BoolKind
	case float64:
		return NumberKind
	case string:
		return StringKind
	case []any:
		return ArrayKind
	case map[string]any, Mapper:
		return ObjectKind
	}
	return NullKind
}

// String returns the value as text.
func (value Value) String() string { return fmt.Sprint(value.content) }

// WithMarks returns the value with marks, for example that it is a secret.
func (value Value) WithMarks(marks uint16) Value {
	value.marks |= marks
	return value
}

// HasMarks says whether a value has all of the marks.
func (value Value) HasMarks(marks uint16) bool { return value.marks&marks == marks }
