package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// rowDecoder reads rows back in their binary form, as far as the digest of their stream counts them.
type rowDecoder struct {
	digest  []string // empty: the text body
	fields  []arrow.Field
	builder *array.RecordBuilder // nil for the text body
}

func newRowDecoder(st sinks.Stream) (*rowDecoder, error) {
	names := st.DigestColumns
	if len(names) == 0 {
		names = []string{flow.ColBody}
		if _, raw, _ := flow.BodyColumns(st.Schema); raw >= 0 {
			names = append(names, flow.ColBodyRaw)
		}
	}
	d := &rowDecoder{digest: st.DigestColumns}
	for _, name := range names {
		at := st.Schema.FieldIndices(name)
		if len(at) != 1 {
			return nil, fmt.Errorf("digest: stream %s has %d columns %q, want one", st.Name, len(at), name)
		}
		f := st.Schema.Field(at[0])
		d.fields = append(d.fields, arrow.Field{Name: f.Name, Type: f.Type, Nullable: true})
	}
	if len(d.digest) > 0 {
		d.builder = array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(d.fields, nil))
	}
	return d, nil
}

func (d *rowDecoder) close() {
	if d.builder != nil {
		d.builder.Release()
	}
}

// columns is what a query selects. Numbers without bounds come as text.
func (d *rowDecoder) columns() string {
	all := make([]string, len(d.fields))
	for i, f := range d.fields {
		all[i] = pgx.Identifier{f.Name}.Sanitize()
		if typ, _ := Type(f.Type); typ == "numeric" {
			all[i] += "::text"
		}
	}
	return strings.Join(all, ", ")
}

// lossy says why a row may not give back exactly what the digest counts; empty if it always does.
func (d *rowDecoder) lossy() string {
	for _, f := range d.fields {
		why := ""
		switch t := f.Type.(type) {
		case *arrow.TimestampType:
			if t.Unit == arrow.Nanosecond {
				why = "PostgreSQL holds times in microseconds"
			}
		case *arrow.Date64Type:
			why = "PostgreSQL holds dates without a time of the day"
		case arrow.NestedType:
			why = "PostgreSQL holds JSON in another order of its keys"
		}
		if why != "" && len(d.digest) > 0 {
			return fmt.Sprintf("column %q: %s", f.Name, why)
		}
	}
	return ""
}

// sum returns the Sum of a row; nil is null.
func (d *rowDecoder) sum(values [][]byte) (flow.Sum, error) {
	if d.builder == nil {
		if len(values) > 1 && values[1] != nil {
			return flow.SumOf(values[1]), nil
		}
		return flow.SumOf(values[0]), nil
	}
	for i, f := range d.fields {
		b := d.builder.Field(i)
		if values[i] == nil {
			b.AppendNull()
		} else if err := appendValue(b, f.Type, values[i]); err != nil {
			return flow.Sum{}, fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	rec := d.builder.NewRecord()
	defer rec.Release()
	return flow.SumColumns(rec, d.digest)
}

// appendValue appends a value in its binary form to a builder: see bind for the other way.
func appendValue(into array.Builder, t arrow.DataType, v []byte) error {
	switch to := into.(type) {
	case *array.StringBuilder:
		to.Append(string(v))
	case *array.LargeStringBuilder:
		to.Append(string(v))
	case *array.BinaryBuilder:
		to.Append(v)
	case *array.FixedSizeBinaryBuilder:
		if len(v) != t.(*arrow.FixedSizeBinaryType).ByteWidth {
			return fmt.Errorf("it has %d bytes", len(v))
		}
		to.Append(v)
	case *array.BooleanBuilder:
		to.Append(len(v) == 1 && v[0] == 1)
	case *array.Uint64Builder:
		n, err := whole(v, 0)
		if err != nil || !n.IsUint64() {
			return fmt.Errorf("%q isn't an unsigned integer of 64 bits", v)
		}
		to.Append(n.Uint64())
	case *array.Decimal128Builder:
		n, err := whole(v, t.(*arrow.Decimal128Type).Scale)
		if err != nil || n.BitLen() > 127 {
			return fmt.Errorf("%q isn't a decimal of 128 bits", v)
		}
		to.Append(decimal128.FromBigInt(n))
	case *array.StructBuilder, *array.MapBuilder, array.ListLikeBuilder, *array.Decimal256Builder, *array.Float16Builder:
		into.AppendNull() // no digest of it can be made: see lossy
	default:
		return appendFixed(into, t, v)
	}
	return nil
}

// appendFixed appends numbers and times.
func appendFixed(into array.Builder, t arrow.DataType, v []byte) error {
	var n int64
	switch len(v) {
	case 2:
		n = int64(int16(binary.BigEndian.Uint16(v)))
	case 4:
		n = int64(int32(binary.BigEndian.Uint32(v)))
	case 8:
		n = int64(binary.BigEndian.Uint64(v))
	default:
		return fmt.Errorf("it has %d bytes", len(v))
	}
	switch to := into.(type) {
	case *array.Int8Builder:
		to.Append(int8(n))
	case *array.Int16Builder:
		to.Append(int16(n))
	case *array.Int32Builder:
		to.Append(int32(n))
	case *array.Int64Builder:
		to.Append(n)
	case *array.Uint8Builder:
		to.Append(uint8(n))
	case *array.Uint16Builder:
		to.Append(uint16(n))
	case *array.Uint32Builder:
		to.Append(uint32(n))
	case *array.DurationBuilder:
		to.Append(arrow.Duration(n))
	case *array.Float32Builder:
		to.Append(math.Float32frombits(uint32(n)))
	case *array.Float64Builder:
		to.Append(math.Float64frombits(uint64(n)))
	case *array.Date32Builder:
		to.Append(arrow.Date32(n + epochDays))
	case *array.Date64Builder:
		to.Append(arrow.Date64((n + epochDays) * 24 * 60 * 60 * 1000))
	case *array.TimestampBuilder:
		to.Append(fromMicros(t.(*arrow.TimestampType).Unit, n))
	default:
		return fmt.Errorf("type %s isn't read back", t)
	}
	return nil
}

// fromMicros returns microseconds since PostgreSQL's epoch in a unit since 1970.
func fromMicros(unit arrow.TimeUnit, micros int64) arrow.Timestamp {
	micros += epochDays * dayMicros
	if unit == arrow.Nanosecond {
		return arrow.Timestamp(micros * 1000)
	}
	return arrow.Timestamp(floorDiv(micros, int64(unit.Multiplier()/time.Microsecond)))
}

// whole returns a decimal number with as many decimals as scale without its point.
func whole(text []byte, scale int32) (*big.Int, error) {
	digits, fraction, _ := strings.Cut(string(text), ".")
	if len(fraction) > int(max(scale, 0)) {
		return nil, fmt.Errorf("%q has more than %d decimals", text, scale)
	}
	digits += fraction + strings.Repeat("0", int(max(scale, 0))-len(fraction))
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return nil, fmt.Errorf("%q isn't a number", text)
	}
	for range -scale {
		n.Quo(n, big.NewInt(10))
	}
	return n, nil
}
