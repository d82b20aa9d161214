package wire

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
)

// Layout says which columns of a slice's schema its frames carry: all but those with one value in the slice. It is made
// once a slice, at either end. Encode is safe for concurrent use; Decode is not, for it keeps the spread constants.
type Layout struct {
	schema    *arrow.Schema
	constants []int // indexes in schema, ascending
	carried   []int // the others
	partial   *arrow.Schema
	single    *arrow.Schema // of the constants; nil without

	values []arrow.Array // by column of schema: the one-row constant, nil for a carried column
	spread []arrow.Array // by column of schema: a constant or null column of the most rows needed so far
	held   int64         // bytes that spread takes

	constantBytes int64 // of the one row of the constants, once it is known
}

// NewLayout returns the layout of a schema whose columns constants (ascending indexes) have one value in the slice. It
// refuses types that frames can't carry. Release it when the slice is done.
func NewLayout(schema *arrow.Schema, constants []int) (*Layout, error) {
	if err := checkSchema(schema); err != nil {
		return nil, err
	}
	l := &Layout{
		schema: schema, constants: slices.Clone(constants),
		values: make([]arrow.Array, schema.NumFields()), spread: make([]arrow.Array, schema.NumFields()),
	}
	for i, c := range constants {
		if c < 0 || c >= schema.NumFields() || i > 0 && c <= constants[i-1] {
			return nil, fmt.Errorf("constant columns %v: not ascending indexes of %d columns", constants, schema.NumFields())
		}
	}
	var carried, single []arrow.Field
	for i, f := range schema.Fields() {
		if _, isConstant := slices.BinarySearch(constants, i); isConstant {
			single = append(single, f)
		} else {
			carried = append(carried, f)
			l.carried = append(l.carried, i)
		}
	}
	l.partial = arrow.NewSchema(carried, nil)
	if len(single) > 0 {
		l.single = arrow.NewSchema(single, nil)
	}
	return l, nil
}

// Schema returns the full schema.
func (l *Layout) Schema() *arrow.Schema { return l.schema }

// Partial returns the schema of the columns that frames carry.
func (l *Layout) Partial() *arrow.Schema { return l.partial }

// Constants returns the indexes of the columns with one value in the slice.
func (l *Layout) Constants() []int { return slices.Clone(l.constants) }

// EncodeConstants returns the one-row message of rec, whose columns must be those of the constants in order.
func (l *Layout) EncodeConstants(rec arrow.Record) ([]byte, error) {
	if l.single == nil {
		return nil, nil
	}
	if rec == nil || rec.NumRows() != 1 || !sameColumns(rec.Schema(), l.single) {
		return nil, fmt.Errorf("constants: want one row of %s", fieldNames(l.single))
	}
	all, err := NewLayout(l.single, nil)
	if err != nil {
		return nil, err
	}
	f, err := all.encode(rec, true)
	if err != nil {
		return nil, fmt.Errorf("constants: %w", err)
	}
	defer f.Release()
	l.constantBytes = SizeOf(rec, 0, 1)
	return f.Bytes(), nil
}

// MostRows returns the most rows that a frame should have, once the constants are known: fewer than MaxRows where they are long, since the
// receiver spreads them over the rows and refuses more than MaxSpread.
func (l *Layout) MostRows() int {
	if l.constantBytes == 0 {
		return MaxRows
	}
	// A quarter: columns are spread over a power of two of rows, and null ones beside the constants.
	return int(min(max(MaxSpread/4/l.constantBytes, 1), MaxRows))
}

// SetConstants takes the one-row message of the constants. It must be called before Decode if the layout has any. msg isn't
// kept.
func (l *Layout) SetConstants(msg []byte) error {
	if l.single == nil {
		if len(msg) > 0 {
			return corrupt(errors.New("constants without a constant column"))
		}
		return nil
	}
	all, err := NewLayout(l.single, nil)
	if err != nil {
		return err
	}
	// A copy: msg need not be aligned, and it belongs to a message.
	root := memory.NewBufferBytes(append(make([]byte, 0, len(msg)+8), msg...))
	rec, err := all.decode(root, 0, root.Len(), 1, nil)
	if err != nil {
		return fmt.Errorf("constants: %w", err)
	}
	defer rec.Release()
	l.constantBytes = SizeOf(rec, 0, 1)
	for i, c := range l.constants {
		if l.values[c] != nil {
			l.values[c].Release()
		}
		l.values[c] = rec.Column(i)
		l.values[c].Retain()
	}
	return nil
}

// Release frees the spread columns. Records that were decoded stay valid.
func (l *Layout) Release() {
	for i := range l.values {
		if l.values[i] != nil {
			l.values[i].Release()
		}
		if l.spread[i] != nil {
			l.spread[i].Release()
		}
		l.values[i], l.spread[i] = nil, nil
	}
	l.held = 0
}

// slice returns rows rows of a constant column, or of nulls for a carried one. The caller releases it.
func (l *Layout) slice(column, rows int) (arrow.Array, error) {
	have := l.spread[column]
	if have == nil || have.Len() < rows {
		// A power of two: batches vary by a few rows, and the column must not be built anew for each.
		want := 1 << bits.Len(uint(max(rows, 1)-1))
		each := l.bytesOf(column)
		more := each * int64(want)
		if have != nil {
			more -= each * int64(have.Len())
		}
		// Judged before it is built: a frame of a few bytes may name any number of columns.
		if l.held+more > MaxSpread {
			return nil, fmt.Errorf("column %q spread over %d rows: the constant and null columns would take %d bytes, want at most %d: send fewer rows in a frame",
				l.schema.Field(column).Name, want, l.held+more, MaxSpread)
		}
		grown, err := l.build(column, want)
		if err != nil {
			return nil, err
		}
		if have != nil {
			have.Release()
		}
		l.held += more
		l.spread[column], have = grown, grown
	}
	return array.NewSlice(have, 0, int64(rows)), nil
}

// bytesOf returns how many bytes a row of a column takes that is spread.
func (l *Layout) bytesOf(column int) int64 {
	if value := l.values[column]; value != nil && value.IsValid(0) {
		return sizeOf(value.Data(), 0, 1)
	}
	left := maxFields
	width, _ := checkType(l.schema.Field(column).Type, maxDepth, &left) // NewLayout has checked it
	return width
}

func (l *Layout) build(column, rows int) (arrow.Array, error) {
	value := l.values[column]
	if value == nil {
		if _, isConstant := slices.BinarySearch(l.constants, column); isConstant {
			return nil, fmt.Errorf("column %q: its one value hasn't been told", l.schema.Field(column).Name)
		}
		return nulls(l.schema.Field(column).Type, rows), nil
	}
	if value.IsNull(0) {
		return nulls(value.DataType(), rows), nil
	}
	out := value
	out.Retain()
	for out.Len() < rows { // rows is a power of two
		twice, err := array.Concatenate([]arrow.Array{out, out}, memory.DefaultAllocator)
		out.Release()
		if err != nil {
			return nil, fmt.Errorf("column %q: spread over %d rows: %w", l.schema.Field(column).Name, rows, err)
		}
		out = twice
	}
	return out, nil
}

// nulls returns an array of nulls.
func nulls(dt arrow.DataType, rows int) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, dt)
	defer b.Release()
	b.AppendNulls(rows)
	return b.NewArray()
}

// sameColumns reports whether two schemas have columns of the same names and types in the same order, whatever their
// metadata.
func sameColumns(a, b *arrow.Schema) bool {
	return slices.EqualFunc(a.Fields(), b.Fields(), func(x, y arrow.Field) bool {
		return x.Name == y.Name && arrow.TypeEqual(x.Type, y.Type)
	})
}

func fieldNames(s *arrow.Schema) []string {
	var names []string
	for _, f := range s.Fields() {
		names = append(names, f.Name)
	}
	return names
}

// corrupt says that the other process sent what it must not send: a fresh process may do better.
func corrupt(err error) error { return fault.New(fault.Crash, "decode frame", "", err) }
