package encode

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// AppendString appends s as a JSON string, in quotes. s is valid UTF-8, as everything in text columns is.
func AppendString(dst []byte, s string) []byte { return appendJSONString(dst, s) }

// Text writes the values of one column as text, for sinks whose fields are texts: a text as it is, all else as NDJSON has it, without
// the quotes of times and base64. It isn't safe for concurrent use.
type Text struct {
	bindTo func(a arrow.Array) appender
}

// NewText returns the writer of a column. A type that NDJSON can't hold is an error of kind fault.Config that names the column.
func NewText(name string, t arrow.DataType) (Text, error) {
	switch t.(type) {
	case *arrow.StringType:
		return Text{func(a arrow.Array) appender {
			s := a.(*array.String)
			return func(dst []byte, row int) []byte { return append(dst, s.Value(row)...) }
		}}, nil
	case *arrow.LargeStringType:
		return Text{func(a arrow.Array) appender {
			s := a.(*array.LargeString)
			return func(dst []byte, row int) []byte { return append(dst, s.Value(row)...) }
		}}, nil
	}
	if c := scalar(t); c != nil {
		return Text{c.bind}, nil
	}
	v, err := newJSON(NDJSON, name, t)
	if err != nil {
		return Text{}, err
	}
	return Text{v.bind}, nil
}

// Bind returns the appender of an array's values that aren't null; it is good until the next Bind. The array has the column's type.
func (x Text) Bind(a arrow.Array) func(dst []byte, row int) []byte { return x.bindTo(a) }
