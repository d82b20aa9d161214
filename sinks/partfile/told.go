package partfile

import (
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Told is what the path of a file tells instead of columns: the partition, and the name of its log. A record that has another
// value would lose it, so it is refused.
type Told struct {
	columns []toldColumn
}

type toldColumn struct {
	name  string
	at    int
	value string
	fixed bool // value is known; else the first row has it
}

// NewTold returns what the path of a slice's files tells.
func NewTold(i Info) *Told {
	t := &Told{}
	for at, f := range i.Schema.Fields() {
		if slices.Contains(i.Omit, f.Name) && f.Type.ID() == arrow.STRING {
			t.columns = append(t.columns, toldColumn{name: f.Name, at: at, value: i.Slice.Key, fixed: f.Name != flow.ColLogName})
		}
	}
	return t
}

// Misfit says why one of the rows [lo,hi) can't be in the file. Null and the empty text are alike in a path.
func (t *Told) Misfit(rec arrow.Record, lo, hi int) string {
	for i := range t.columns {
		c := &t.columns[i]
		values := rec.Column(c.at).(*array.String)
		for row := lo; row < hi; row++ {
			v := ""
			if values.IsValid(row) {
				v = values.Value(row)
			}
			if !c.fixed {
				c.value, c.fixed = string([]byte(v)), true // the batch's memory is used again
			}
			if v != c.value {
				return fmt.Sprintf("column %q is %q, and the path of the slice's files says %q", c.name, v, c.value)
			}
		}
	}
	return ""
}

// Misfits appends the rows of a batch that can't be in the file.
func (t *Told) Misfits(dst []sinks.Rejected, format string, rec arrow.Record) []sinks.Rejected {
	rows := int(rec.NumRows())
	if t.Misfit(rec, 0, rows) == "" {
		return dst
	}
	for row := range rows {
		if why := t.Misfit(rec, row, row+1); why != "" {
			dst = append(dst, sinks.Rejected{Row: row, Reason: format + ": " + why})
		}
	}
	return dst
}

// CheckShape refuses a batch that isn't of a schema: a column of another type, or nulls where there may be none.
func CheckShape(op string, s *arrow.Schema, rec arrow.Record) error {
	if int(rec.NumCols()) != s.NumFields() {
		return fault.Errorf(fault.Bug, op, "a batch has %d columns, its slice %d", rec.NumCols(), s.NumFields())
	}
	for i, c := range rec.Columns() {
		f := s.Field(i)
		if !arrow.TypeEqual(c.DataType(), f.Type) {
			return fault.Errorf(fault.Bug, op, "column %q of a batch is %s, of its slice %s", f.Name, c.DataType(), f.Type)
		}
		if !f.Nullable && f.Type.ID() != arrow.NULL && c.NullN() > 0 {
			return fault.Errorf(fault.Bug, op, "column %q has nulls, which its schema doesn't allow", f.Name)
		}
	}
	return nil
}
