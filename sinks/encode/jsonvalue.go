package encode

import (
	"github.com/apache/arrow/go/v15/arrow"
)

// JSONValue writes the values of one column as NDJSON does, for sinks that put them elsewhere than in a line of the whole record.
// It isn't safe for concurrent use.
type JSONValue struct{ value jsonValue }

// NewJSONValue returns the writer of a type. A type that JSON can't hold is an error of kind fault.Config that names the column.
func NewJSONValue(column string, t arrow.DataType) (JSONValue, error) {
	v, err := newJSON(NDJSON, column, t)
	return JSONValue{value: v}, err
}

// Bind takes a batch's array and returns what appends the value of a row, which must not be null.
func (v JSONValue) Bind(a arrow.Array) func(dst []byte, row int) []byte { return v.value.bind(a) }

// AppendJSONString appends a text in quotes, escaped as NDJSON does.
func AppendJSONString(dst []byte, text string) []byte { return appendJSONString(dst, text) }
