package partfile

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
)

const dayMillis = 24 * 60 * 60 * 1000

// Columns names the columns of a file that the digest needs.
func (of Stored) Columns() []string {
	if len(of.Digest) == 0 {
		return []string{flow.ColBody, flow.ColBodyRaw}
	}
	var out []string
	for _, name := range of.Digest {
		if _, told := of.Told[name]; !told {
			out = append(out, name)
		}
	}
	return out
}

// EachRecord calls each with the Sum of every record of a batch that was read from a file with a schema of its own: columns that the
// path tells are there again, and times have their stream's unit.
func (of Stored) EachRecord(rec arrow.Record, each func(flow.Sum) error) error {
	if len(of.Digest) == 0 {
		return flow.EachRecord(rec, nil, each)
	}
	fields := make([]arrow.Field, len(of.Digest))
	columns := make([]arrow.Array, len(of.Digest))
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, name := range of.Digest {
		want := of.Schema.FieldIndices(name)
		if len(want) != 1 {
			return fmt.Errorf("digest: the schema has %d columns %q, want one", len(want), name)
		}
		t := of.Schema.Field(want[0]).Type
		if value, told := of.Told[name]; told {
			columns[i] = repeat(value, int(rec.NumRows()))
		} else if at := rec.Schema().FieldIndices(name); len(at) != 1 {
			return fmt.Errorf("digest: the file has %d columns %q, want one", len(at), name)
		} else {
			columns[i] = restore(rec.Column(at[0]), t)
		}
		fields[i] = arrow.Field{Name: name, Type: columns[i].DataType(), Nullable: true}
	}
	out := array.NewRecord(arrow.NewSchema(fields, nil), columns, rec.NumRows())
	defer out.Release()
	return flow.EachRecord(out, of.Digest, each)
}

func repeat(value string, rows int) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(rows)
	for range rows {
		b.Append(value)
	}
	return b.NewArray()
}

// restore returns values in the unit of a type, where the file has another one; all else has the same canonical form.
func restore(a arrow.Array, t arrow.DataType) arrow.Array {
	switch a := a.(type) {
	case *array.Timestamp:
		want, ok := t.(*arrow.TimestampType)
		if has := a.DataType().(*arrow.TimestampType).Unit; ok && want.Unit != has {
			b := array.NewTimestampBuilder(memory.DefaultAllocator, want)
			defer b.Release()
			for i := range a.Len() {
				if a.IsNull(i) {
					b.AppendNull()
				} else {
					b.Append(arrow.Timestamp(rescale(int64(a.Value(i)), int64(has.Multiplier()), int64(want.Unit.Multiplier()))))
				}
			}
			return b.NewArray()
		}
	case *array.Date32:
		if t.ID() == arrow.DATE64 {
			b := array.NewDate64Builder(memory.DefaultAllocator)
			defer b.Release()
			for i := range a.Len() {
				if a.IsNull(i) {
					b.AppendNull()
				} else {
					b.Append(arrow.Date64(int64(a.Value(i)) * dayMillis))
				}
			}
			return b.NewArray()
		}
	}
	a.Retain()
	return a
}

// rescale turns times in units of so many nanoseconds into ones of others.
func rescale(v, has, want int64) int64 {
	if has >= want {
		return v * (has / want)
	}
	by := want / has
	if q := v / by; v%by >= 0 {
		return q
	} else {
		return q - 1
	}
}

// Coarser says why times may have lost what is finer than a unit of so many nanoseconds, or nested columns their unit; empty if no
// column of the digest has any. days says that dates with a time of the day lose it.
func (of Stored) Coarser(unit int64, days bool) string {
	for _, name := range of.Digest {
		for _, at := range of.Schema.FieldIndices(name) {
			switch t := of.Schema.Field(at).Type.(type) {
			case *arrow.TimestampType:
				if int64(t.Unit.Multiplier()) < unit {
					return fmt.Sprintf("column %q has times in %s, which the file cuts off to a coarser unit", name, t.Unit)
				}
			case *arrow.Date64Type:
				if days {
					return fmt.Sprintf("column %q has dates with a time of the day, which the file leaves out", name)
				}
			case arrow.NestedType:
				if hasTime(t, days) {
					return fmt.Sprintf("column %q is %s, whose times have another unit in the file", name, t)
				}
			}
		}
	}
	return ""
}

func hasTime(t arrow.DataType, days bool) bool {
	switch t := t.(type) {
	case *arrow.TimestampType:
		return true
	case *arrow.Date64Type:
		return days
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if hasTime(f.Type, days) {
				return true
			}
		}
	}
	return false
}
