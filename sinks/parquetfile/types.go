package parquetfile

import (
	"fmt"
	"math"
	"slices"
	"strings"

	arrow18 "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
)

// Unit is the precision of timestamps and times of the day in a file.
type Unit string

// The units.
const (
	Millis Unit = "ms"
	Micros Unit = "us"
	Nanos  Unit = "ns"
)

// Units lists the units as settings spell them.
func Units() []Unit { return []Unit{Micros, Nanos, Millis} }

func (u Unit) arrow() arrow18.TimeUnit {
	switch u {
	case Millis:
		return arrow18.Millisecond
	case Nanos:
		return arrow18.Nanosecond
	}
	return arrow18.Microsecond
}

// perSecond is how many of a unit are in a second.
func perSecond[U ~int](u U) int64 {
	return []int64{1, 1e3, 1e6, 1e9}[u]
}

// newColumn returns an empty column for values of a type.
func newColumn(t arrow.DataType, u Unit) (column, arrow18.DataType, error) {
	switch t := t.(type) {
	case *arrow.NullType:
		return &nothing{}, arrow18.Null, nil
	case *arrow.BooleanType:
		return &bools{}, arrow18.FixedWidthTypes.Boolean, nil
	case *arrow.Int8Type:
		return ofNumbers[int8](arrow18.PrimitiveTypes.Int8)
	case *arrow.Int16Type:
		return ofNumbers[int16](arrow18.PrimitiveTypes.Int16)
	case *arrow.Int32Type:
		return ofNumbers[int32](arrow18.PrimitiveTypes.Int32)
	case *arrow.Int64Type, *arrow.DurationType: // Parquet has no durations
		return ofNumbers[int64](arrow18.PrimitiveTypes.Int64)
	case *arrow.Uint8Type:
		return ofNumbers[uint8](arrow18.PrimitiveTypes.Uint8)
	case *arrow.Uint16Type:
		return ofNumbers[uint16](arrow18.PrimitiveTypes.Uint16)
	case *arrow.Uint32Type:
		return ofNumbers[uint32](arrow18.PrimitiveTypes.Uint32)
	case *arrow.Uint64Type:
		return &fixed[int64]{bad: func(a arrow.Array, row int) string {
			if v := a.(*array.Uint64).Value(row); v > math.MaxInt64 {
				return fmt.Sprintf("%d is beyond what a signed integer of 64 bits holds", v)
			}
			return ""
		}}, arrow18.PrimitiveTypes.Int64, nil
	case *arrow.Float16Type:
		return &fixed[float32]{from: func(dst []float32, a arrow.Array, lo, hi int) []float32 {
			for i := lo; i < hi; i++ {
				dst = append(dst, a.(*array.Float16).Value(i).Float32())
			}
			return dst
		}}, arrow18.PrimitiveTypes.Float32, nil
	case *arrow.Float32Type:
		return ofNumbers[float32](arrow18.PrimitiveTypes.Float32)
	case *arrow.Float64Type:
		return ofNumbers[float64](arrow18.PrimitiveTypes.Float64)
	case *arrow.StringType:
		return &varlen[int32]{}, arrow18.BinaryTypes.String, nil
	case *arrow.LargeStringType:
		return &varlen[int64]{}, arrow18.BinaryTypes.String, nil
	case *arrow.BinaryType:
		return &varlen[int32]{}, arrow18.BinaryTypes.Binary, nil
	case *arrow.LargeBinaryType:
		return &varlen[int64]{}, arrow18.BinaryTypes.Binary, nil
	case *arrow.FixedSizeBinaryType:
		of := &arrow18.FixedSizeBinaryType{ByteWidth: t.ByteWidth}
		return &blobs{width: t.ByteWidth}, of, nil
	case *arrow.Decimal128Type:
		return ofDecimals(t, t.Precision, t.Scale, func(a arrow.Array, row int) decimal128.Num {
			v := a.(*array.Decimal128).Value(row)
			return decimal128.New(v.HighBits(), v.LowBits())
		})
	case *arrow.Decimal256Type:
		return ofDecimals(t, t.Precision, t.Scale, func(a arrow.Array, row int) decimal128.Num {
			words := a.(*array.Decimal256).Value(row).Array()
			return decimal128.New(int64(words[1]), words[0])
		})
	}
	if c, of := newMoment(t, u); c != nil {
		return c, of, nil
	}
	return newNested(t, u)
}

func ofNumbers[T numeric](of arrow18.DataType) (column, arrow18.DataType, error) {
	return &fixed[T]{}, of, nil
}

// maxPrecision is the most digits of a decimal that readers know.
const maxPrecision = 38

func ofDecimals(t arrow.DataType, precision, scale int32, value func(arrow.Array, int) decimal128.Num) (column, arrow18.DataType, error) {
	if precision < 1 || precision > maxPrecision {
		return nil, nil, fmt.Errorf("%s has more than %d digits", t, maxPrecision)
	}
	of := &arrow18.Decimal128Type{Precision: precision, Scale: scale}
	return &amounts{value: value, bounds: decimals{size: int(pqarrow.DecimalSize(precision))}}, of, nil
}

// newMoment returns the column of a date or time; nil for all other types.
func newMoment(t arrow.DataType, u Unit) (column, arrow18.DataType) {
	switch t := t.(type) {
	case *arrow.Date32Type:
		return &fixed[int32]{}, arrow18.FixedWidthTypes.Date32
	case *arrow.Date64Type:
		of := arrow18.FixedWidthTypes.Date32
		return &fixed[int32]{from: func(dst []int32, a arrow.Array, lo, hi int) []int32 {
			for _, v := range span[int64](a, lo, hi) {
				dst = append(dst, int32(floorDiv(v, 24*60*60*1000)))
			}
			return dst
		}}, of
	case *arrow.Time32Type:
		of := arrow18.FixedWidthTypes.Time32ms
		c := &fixed[int32]{}
		if t.Unit == arrow.Second {
			c.from = func(dst []int32, a arrow.Array, lo, hi int) []int32 {
				for _, v := range span[int32](a, lo, hi) {
					dst = append(dst, v*1000)
				}
				return dst
			}
		}
		return c, of
	case *arrow.Time64Type:
		to := arrow18.Microsecond // there is no Time64 of milliseconds
		if u == Nanos {
			to = arrow18.Nanosecond
		}
		of := &arrow18.Time64Type{Unit: to}
		return scaled(perSecond(t.Unit), perSecond(to)), of
	case *arrow.TimestampType:
		of := &arrow18.TimestampType{Unit: u.arrow(), TimeZone: t.TimeZone}
		return scaled(perSecond(t.Unit), perSecond(of.Unit)), of
	}
	return nil, nil
}

// scaled is a column of times that are from a second in the batch and to a second in the file.
func scaled(from, to int64) column {
	c := &fixed[int64]{}
	switch {
	case from > to:
		by := from / to
		c.from = func(dst []int64, a arrow.Array, lo, hi int) []int64 {
			if by == 1000 { // a constant is multiplied with, which costs a tenth
				for _, v := range span[int64](a, lo, hi) {
					dst = append(dst, floorDiv(v, 1000))
				}
				return dst
			}
			for _, v := range span[int64](a, lo, hi) {
				dst = append(dst, floorDiv(v, by))
			}
			return dst
		}
	case from < to:
		by := to / from
		c.from = func(dst []int64, a arrow.Array, lo, hi int) []int64 {
			for _, v := range span[int64](a, lo, hi) {
				dst = append(dst, v*by)
			}
			return dst
		}
		c.bad = func(a arrow.Array, row int) string {
			if v := span[int64](a, row, row+1)[0]; v > math.MaxInt64/by || v < math.MinInt64/by {
				return fmt.Sprintf("the time %d (1/%d s since 1970) is too far away for the file's unit", v, from)
			}
			return ""
		}
	}
	return c
}

func floorDiv(v, by int64) int64 {
	q := v / by
	if v%by < 0 {
		q--
	}
	return q
}

// newNested returns the column of a list, map or struct. What is inside may be null, but for the keys of maps.
func newNested(t arrow.DataType, u Unit) (column, arrow18.DataType, error) {
	switch t := t.(type) {
	case *arrow.StructType:
		if t.NumFields() == 0 {
			return nil, nil, fmt.Errorf("%s has no field", t)
		}
		c, of, err := newGroup(t.Fields(), u, false)
		return c, of, err
	case *arrow.MapType: // before lists: a map is a list too
		entries, of, err := newGroup([]arrow.Field{{Name: "key", Type: t.KeyType()}, {Name: "value", Type: t.ItemType()}}, u, true)
		if err != nil {
			return nil, nil, err
		}
		m := arrow18.MapOfFields(of.Field(0), of.Field(1))
		return &lists{child: entries, source: mapSource}, m, nil
	case arrow.ListLikeType:
		child, of, err := newColumn(t.Elem(), u)
		if err != nil {
			return nil, nil, err
		}
		list := arrow18.ListOfField(arrow18.Field{Name: "element", Type: of, Nullable: true})
		c := &lists{child: child}
		switch t := t.(type) {
		case *arrow.ListType:
			c.source = listSource
		case *arrow.LargeListType:
			c.source = largeListSource
		case *arrow.FixedSizeListType:
			c.source = fixedListSource(int(t.Len()))
		default:
			return nil, nil, fmt.Errorf("it is %s", t)
		}
		return c, list, nil
	}
	return nil, nil, fmt.Errorf("it is %s", t)
}

func newGroup(fields []arrow.Field, u Unit, keys bool) (*groups, *arrow18.StructType, error) {
	c := &groups{keys: keys}
	all := make([]arrow18.Field, len(fields))
	for i, f := range fields {
		child, of, err := newColumn(f.Type, u)
		if err != nil {
			return nil, nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
		c.fields = append(c.fields, child)
		all[i] = arrow18.Field{Name: f.Name, Type: of, Nullable: !keys || i > 0}
	}
	return c, arrow18.StructOf(all...), nil
}

func listSource(a arrow.Array) (arrow.Array, func(int) (int, int)) {
	l := a.(*array.List)
	return l.ListValues(), func(row int) (int, int) { lo, hi := l.ValueOffsets(row); return int(lo), int(hi) }
}

func mapSource(a arrow.Array) (arrow.Array, func(int) (int, int)) {
	m := a.(*array.Map)
	return m.ListValues(), func(row int) (int, int) { lo, hi := m.ValueOffsets(row); return int(lo), int(hi) }
}

func largeListSource(a arrow.Array) (arrow.Array, func(int) (int, int)) {
	l := a.(*array.LargeList)
	return l.ListValues(), func(row int) (int, int) { lo, hi := l.ValueOffsets(row); return int(lo), int(hi) }
}

func fixedListSource(n int) func(a arrow.Array) (arrow.Array, func(int) (int, int)) {
	return func(a arrow.Array) (arrow.Array, func(int) (int, int)) {
		off := a.Data().Offset()
		return a.(*array.FixedSizeList).ListValues(), func(row int) (int, int) { return (off + row) * n, (off + row + 1) * n }
	}
}

// table is the columns of a stream as they are written.
type table struct {
	schema *arrow18.Schema
	unit   Unit
	source []int // of each column, its place in a batch
	of     *arrow.Schema
}

// newTable maps a schema, without the columns of these names.
func newTable(s *arrow.Schema, omit []string, u Unit) (*table, error) {
	t := &table{unit: u, of: s}
	var fields []arrow18.Field
	for i, f := range s.Fields() {
		if slices.Contains(omit, f.Name) {
			continue
		}
		_, of, err := newColumn(f.Type, u)
		if err != nil {
			return nil, fault.New(fault.Config, "write parquet", "leave the column out, or have the source send it as another type",
				fmt.Errorf("column %q can't be held by the format: %w", f.Name, err))
		}
		fields = append(fields, arrow18.Field{Name: f.Name, Type: of, Nullable: f.Nullable || f.Type.ID() == arrow.NULL})
		t.source = append(t.source, i)
	}
	if len(fields) == 0 {
		return nil, fault.New(fault.Config, "write parquet", "give the sink another layout", fmt.Errorf("the path tells all columns: nothing is left for the file"))
	}
	t.schema = arrow18.NewSchema(fields, nil)
	return t, nil
}

// columns returns empty columns for a chunk.
func (t *table) columns() []column {
	out := make([]column, len(t.source))
	for i, at := range t.source {
		out[i], _, _ = newColumn(t.of.Field(at).Type, t.unit) // newTable has had no error
	}
	return out
}

// logicalNames shortens the library's names of logical types to those of the format's documents.
var logicalNames = strings.NewReplacer(
	"bitWidth=", "", "isSigned=true", "signed", "isSigned=false", "unsigned", "precision=", "", "scale=", "",
	"isAdjustedToUTC=true", "UTC", "isAdjustedToUTC=false", "local", "timeUnit=", "",
	", is_from_converted_type=false, force_set_converted_type=true", "",
)

// Types returns what the columns of a file are for a schema: a name, the physical type and the logical one of each leaf. It is
// for documentation.
func Types(s *arrow.Schema, u Unit) ([]string, error) {
	t, err := newTable(s, nil, u)
	if err != nil {
		return nil, err
	}
	out, err := pqarrow.ToParquet(t.schema, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	var all []string
	for i := range out.NumColumns() {
		c := out.Column(i)
		text := c.PhysicalType().String()
		if l := c.LogicalType(); l != nil && !l.IsNone() {
			text += " " + logicalNames.Replace(l.String())
		}
		if path := c.ColumnPath(); len(path) > 1 {
			text = path[1:].String() + ": " + text
		}
		all = append(all, text)
	}
	return all, nil
}
