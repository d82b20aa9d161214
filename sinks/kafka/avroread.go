package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
)

// avroDecoder reads datums of a stream's schema back. One of an earlier schema has fewer columns, for columns are only added at the end:
// those that it lacks are null.
type avroDecoder struct {
	schema  *arrow.Schema
	digest  []string // empty: the text body
	wanted  []int    // columns that the digest needs, by their place in the schema: where they are in builder, -1 for others
	columns *arrow.Schema
	builder *array.RecordBuilder // of columns
}

func newAvroDecoder(schema *arrow.Schema, digest []string) (*avroDecoder, error) {
	names := digest
	if len(names) == 0 {
		names = []string{flow.ColBody}
		if _, raw, _ := flow.BodyColumns(schema); raw >= 0 {
			names = append(names, flow.ColBodyRaw)
		}
	}
	d := &avroDecoder{schema: schema, digest: digest, wanted: make([]int, schema.NumFields())}
	fields := make([]arrow.Field, len(names))
	for i, f := range schema.Fields() {
		if d.wanted[i] = slices.Index(names, f.Name); d.wanted[i] >= 0 {
			fields[d.wanted[i]] = arrow.Field{Name: f.Name, Type: f.Type, Nullable: true}
		}
	}
	for i, f := range fields {
		if f.Type == nil {
			return nil, fmt.Errorf("digest: the schema has no column %q", names[i])
		}
	}
	d.columns = arrow.NewSchema(fields, nil)
	d.builder = array.NewRecordBuilder(memory.DefaultAllocator, d.columns)
	return d, nil
}

func (d *avroDecoder) close() { d.builder.Release() }

func (d *avroDecoder) lossy() string {
	for i, f := range d.schema.Fields() {
		if d.wanted[i] >= 0 && f.Type.ID() == arrow.DATE64 {
			return fmt.Sprintf("column %q: a date is written without its time of the day", f.Name)
		}
	}
	return ""
}

// sum returns the Sum of one datum.
func (d *avroDecoder) sum(datum []byte) (sum flow.Sum, err error) {
	defer func() {
		if err != nil { // half of a row is no beginning of the next
			d.builder.Release()
			d.builder = array.NewRecordBuilder(memory.DefaultAllocator, d.columns)
		}
	}()
	in := &avroReader{b: datum}
	for i, f := range d.schema.Fields() {
		var into array.Builder
		if at := d.wanted[i]; at >= 0 {
			into = d.builder.Field(at)
		}
		if len(in.b) == 0 && f.Type.ID() != arrow.NULL {
			appendNull(into)
			continue
		}
		if in.nullable(f.Type, into); in.err != nil {
			return sum, fmt.Errorf("column %q: %w", f.Name, in.err)
		}
	}
	if len(in.b) > 0 {
		return sum, fmt.Errorf("%d bytes follow the columns", len(in.b))
	}
	rec := d.builder.NewRecord()
	defer rec.Release()
	err = flow.EachRecord(rec, d.digest, func(s flow.Sum) error { sum = s; return nil })
	return sum, err
}

func appendNull(into array.Builder) {
	if into != nil {
		into.AppendNull()
	}
}

// avroReader reads what avroWriters wrote. After its first error it does nothing more. A nil builder skips a value.
type avroReader struct {
	b   []byte
	err error
}

var errCutDatum = errors.New("the datum ends too early")

func (r *avroReader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *avroReader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.fail(errCutDatum)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *avroReader) long() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errCutDatum)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *avroReader) text() []byte { return r.take(r.long()) }

// nullable reads a union of null and a type.
func (r *avroReader) nullable(t arrow.DataType, into array.Builder) {
	if t.ID() == arrow.NULL {
		appendNull(into)
		return
	}
	switch branch := r.long(); {
	case r.err != nil:
	case branch == 0:
		appendNull(into)
	case branch == 1:
		r.value(t, into)
	default:
		r.fail(fmt.Errorf("a union has no branch %d", branch))
	}
}

// blocks calls item for each element of an array or map.
func (r *avroReader) blocks(item func()) {
	for {
		n := r.long()
		if n == 0 || r.err != nil {
			return
		}
		if n < 0 { // with its size in bytes
			n = -n
			r.long()
		}
		for range n {
			if item(); r.err != nil {
				return
			}
		}
	}
}

func (r *avroReader) value(t arrow.DataType, into array.Builder) {
	switch t := t.(type) {
	case *arrow.StructType:
		var s *array.StructBuilder
		if into != nil {
			s = into.(*array.StructBuilder)
			s.Append(true)
		}
		for i, f := range t.Fields() {
			var field array.Builder
			if s != nil {
				field = s.FieldBuilder(i)
			}
			r.nullable(f.Type, field)
		}
	case *arrow.MapType: // before lists: a map is a list too
		var m *array.MapBuilder
		var items array.Builder
		if into != nil {
			m = into.(*array.MapBuilder)
			m.Append(true)
			items = m.ItemBuilder()
		}
		r.blocks(func() {
			key := r.text()
			if m != nil && r.err == nil {
				m.KeyBuilder().(*array.StringBuilder).Append(string(key))
			}
			r.nullable(t.ItemType(), items)
		})
	case arrow.ListLikeType:
		var elements array.Builder
		if into != nil {
			l := into.(array.ListLikeBuilder)
			l.Append(true)
			elements = l.ValueBuilder()
		}
		r.blocks(func() { r.nullable(t.Elem(), elements) })
	default:
		r.scalar(t, into)
	}
}

// scalar reads a single value.
func (r *avroReader) scalar(t arrow.DataType, into array.Builder) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		b := r.take(1)
		put(r, into, func(to *array.BooleanBuilder) { to.Append(b[0] == 1) })
	case *arrow.StringType:
		b := r.text()
		put(r, into, func(to *array.StringBuilder) { to.Append(string(b)) })
	case *arrow.LargeStringType:
		b := r.text()
		put(r, into, func(to *array.LargeStringBuilder) { to.Append(string(b)) })
	case *arrow.BinaryType, *arrow.LargeBinaryType:
		b := r.text()
		put(r, into, func(to *array.BinaryBuilder) { to.Append(b) })
	case *arrow.FixedSizeBinaryType:
		b := r.take(int64(t.ByteWidth))
		put(r, into, func(to *array.FixedSizeBinaryBuilder) { to.Append(b) })
	case *arrow.Decimal128Type:
		b := r.text()
		if len(b) != 16 && r.err == nil {
			r.fail(fmt.Errorf("a decimal of %d bytes", len(b)))
		}
		put(r, into, func(to *array.Decimal128Builder) {
			to.Append(decimal128.New(int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])))
		})
	case *arrow.Float32Type:
		b := r.take(4)
		put(r, into, func(to *array.Float32Builder) { to.Append(math.Float32frombits(binary.LittleEndian.Uint32(b))) })
	case *arrow.Float64Type:
		b := r.take(8)
		put(r, into, func(to *array.Float64Builder) { to.Append(math.Float64frombits(binary.LittleEndian.Uint64(b))) })
	case *arrow.Float16Type:
		r.take(4) // no digest has it
	case *arrow.Decimal256Type:
		r.text() // nor this
	default:
		r.integer(t, into)
	}
}

// integer reads what Avro has an int or a long for.
func (r *avroReader) integer(t arrow.DataType, into array.Builder) {
	v := r.long()
	if into == nil || r.err != nil {
		return
	}
	switch to := into.(type) {
	case *array.Int8Builder:
		to.Append(int8(v))
	case *array.Int16Builder:
		to.Append(int16(v))
	case *array.Int32Builder:
		to.Append(int32(v))
	case *array.Int64Builder:
		to.Append(v)
	case *array.Uint8Builder:
		to.Append(uint8(v))
	case *array.Uint16Builder:
		to.Append(uint16(v))
	case *array.Uint32Builder:
		to.Append(uint32(v))
	case *array.Uint64Builder:
		to.Append(uint64(v))
	case *array.Date32Builder:
		to.Append(arrow.Date32(v))
	case *array.Date64Builder:
		to.Append(arrow.Date64(v * 24 * 60 * 60 * 1000))
	case *array.DurationBuilder:
		to.Append(arrow.Duration(v))
	case *array.TimestampBuilder:
		if t.(*arrow.TimestampType).Unit == arrow.Second {
			v /= 1000 // written as milliseconds
		}
		to.Append(arrow.Timestamp(v))
	default:
		r.fail(fmt.Errorf("type %s isn't read back", t))
	}
}

// put appends a value that was read, if it is wanted.
func put[B array.Builder](r *avroReader, into array.Builder, value func(to B)) {
	if into != nil && r.err == nil {
		value(into.(B))
	}
}
