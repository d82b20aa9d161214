package pipeline

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// countNulls counts the nulls of all columns once. Arrow counts them when they are first asked for and keeps the number in the data that sinks
// share, without a lock: of sinks that append side by side two would write it at once.
func countNulls(rec arrow.Record) {
	for _, c := range rec.Columns() {
		countNullsOf(c.Data())
	}
}

func countNullsOf(d arrow.ArrayData) {
	a := array.MakeFromData(d)
	a.NullN()
	a.Release()
	for _, child := range d.Children() {
		countNullsOf(child)
	}
}
