package flow

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// SumColumns returns the Sum of an Arrow record of a stream that isn't a log stream: of each row the named columns, in the
// order of names, in the canonical form of FORMAT.md. It fails on a name that isn't in the schema and on a type without a
// canonical form.
func SumColumns(rec arrow.Record, names []string) (Sum, error) {
	columns, err := columnsOf(rec, names)
	if err != nil {
		return Sum{}, err
	}
	var sum Sum
	var row []byte
	for i := range int(rec.NumRows()) {
		if row, err = appendRow(row[:0], columns, names, i); err != nil {
			return Sum{}, err
		}
		sum.Add(row)
	}
	return sum, nil
}

// RowColumns returns the bytes of row i that SumColumns counts and hashes: what stands for a record without a text body,
// in dead letters too.
func RowColumns(rec arrow.Record, names []string, i int) ([]byte, error) {
	columns, err := columnsOf(rec, names)
	if err != nil {
		return nil, err
	}
	return appendRow(nil, columns, names, i)
}

func columnsOf(rec arrow.Record, names []string) ([]arrow.Array, error) {
	columns := make([]arrow.Array, len(names))
	for i, name := range names {
		at := rec.Schema().FieldIndices(name)
		if len(at) != 1 {
			return nil, fmt.Errorf("digest: the schema has %d columns %q, want one", len(at), name)
		}
		columns[i] = rec.Column(at[0])
	}
	return columns, nil
}

func appendRow(dst []byte, columns []arrow.Array, names []string, i int) ([]byte, error) {
	for j, c := range columns {
		var err error
		if dst, err = appendCanonical(dst, c, i); err != nil {
			return nil, fmt.Errorf("digest: column %q: %w", names[j], err)
		}
	}
	return dst, nil
}

// AppendValue appends value i of an array in the canonical form of FORMAT.md. It fails on a type without one.
func AppendValue(dst []byte, a arrow.Array, i int) ([]byte, error) { return appendCanonical(dst, a, i) }

// appendCanonical appends value i of an array: a 0 byte for null, else a 1 byte, four bytes of length and the value.
func appendCanonical(dst []byte, a arrow.Array, i int) ([]byte, error) {
	if a.IsNull(i) {
		return append(dst, 0), nil
	}
	dst = append(dst, 1, 0, 0, 0, 0)
	start := len(dst)
	var err error
	switch a := a.(type) {
	case *array.Boolean:
		dst = append(dst, 0)
		if a.Value(i) {
			dst[start] = 1
		}
	case *array.Int8:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Int16:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Int32:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Int64:
		dst = appendInt(dst, a.Value(i))
	case *array.Uint8:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Uint16:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Uint32:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Uint64:
		dst = binary.BigEndian.AppendUint64(dst, a.Value(i))
	case *array.Float32:
		dst = appendFloat(dst, float64(a.Value(i)))
	case *array.Float64:
		dst = appendFloat(dst, a.Value(i))
	case *array.Date32:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Date64:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Timestamp:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Duration:
		dst = appendInt(dst, int64(a.Value(i)))
	case *array.Decimal128:
		v := a.Value(i)
		dst = binary.BigEndian.AppendUint64(appendInt(dst, v.HighBits()), v.LowBits())
	case *array.String:
		dst = append(dst, a.Value(i)...)
	case *array.LargeString:
		dst = append(dst, a.Value(i)...)
	case *array.Binary:
		dst = append(dst, a.Value(i)...)
	case *array.LargeBinary:
		dst = append(dst, a.Value(i)...)
	case *array.FixedSizeBinary:
		dst = append(dst, a.Value(i)...)
	case *array.Struct:
		for f := range a.NumField() {
			if dst, err = appendCanonical(dst, a.Field(f), i); err != nil {
				return nil, err
			}
		}
	case array.ListLike: // lists and maps; a map's entries are structs
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			if dst, err = appendCanonical(dst, a.ListValues(), int(j)); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("type %s has no canonical form", a.DataType())
	}
	if len(dst)-start > math.MaxUint32 {
		return nil, fmt.Errorf("value of %d bytes", len(dst)-start)
	}
	binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst, nil
}

func appendInt(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// appendFloat writes every NaN as one.
func appendFloat(dst []byte, v float64) []byte {
	if math.IsNaN(v) {
		return binary.BigEndian.AppendUint64(dst, 0x7FF8000000000000)
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}
