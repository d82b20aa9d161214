// Package filetest has records of every type and null for tests of file formats, and drives an encoder as a sink does.
package filetest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/float16"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// Types are the types that every format of files holds, each a column named by its place.
func Types() []arrow.DataType {
	inner := arrow.StructOf(
		arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	)
	return []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		&arrow.Decimal128Type{Precision: 10, Scale: 2}, &arrow.Decimal128Type{Precision: 38, Scale: 0}, &arrow.Decimal256Type{Precision: 20, Scale: 3},
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary, &arrow.FixedSizeBinaryType{ByteWidth: 3},
		arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64,
		arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
		&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Millisecond},
		arrow.FixedWidthTypes.Duration_ms,
		arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.LargeListOf(arrow.BinaryTypes.String), arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int32),
		inner, arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), arrow.ListOf(inner), arrow.MapOf(arrow.BinaryTypes.String, inner),
		arrow.Null,
	}
}

// Schema has a column of each type, nullable, named c0, c1 and so on.
func Schema() *arrow.Schema {
	var fields []arrow.Field
	for i, t := range Types() {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: t, Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// Record returns rows of a schema. nulls is the share of nulls. The caller releases it.
func Record(alloc memory.Allocator, r *rand.Rand, s *arrow.Schema, rows int, nulls float64) arrow.Record {
	b := array.NewRecordBuilder(alloc, s)
	defer b.Release()
	for i, f := range s.Fields() {
		for range rows {
			share := nulls
			if !f.Nullable {
				share = 0
			}
			value(r, b.Field(i), share)
		}
	}
	return b.NewRecord()
}

// value appends a value, which is null by chance.
func value(r *rand.Rand, b array.Builder, nulls float64) {
	if r.Float64() < nulls {
		b.AppendNull()
		return
	}
	clock := r.Int64N(24 * 60 * 60)
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(r.IntN(2) == 0)
	case *array.Int8Builder:
		b.Append(int8(r.Int()))
	case *array.Int16Builder:
		b.Append(int16(r.Int()))
	case *array.Int32Builder:
		b.Append(int32(r.Int()))
	case *array.Int64Builder:
		b.Append(r.Int64() - math.MaxInt64/2)
	case *array.Uint8Builder:
		b.Append(uint8(r.Int()))
	case *array.Uint16Builder:
		b.Append(uint16(r.Int()))
	case *array.Uint32Builder:
		b.Append(r.Uint32())
	case *array.Uint64Builder:
		b.Append(r.Uint64() >> 1)
	case *array.Float16Builder:
		b.Append(float16.New(float32(r.IntN(200)-100) / 4))
	case *array.Float32Builder:
		b.Append(float32(r.NormFloat64()))
	case *array.Float64Builder:
		b.Append([]float64{0, math.Copysign(0, -1), math.Inf(1), r.NormFloat64(), r.NormFloat64()}[r.IntN(5)])
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(r.Int64N(2e9) - 1e9))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromI64(r.Int64N(2e9) - 1e9))
	case *array.StringBuilder:
		b.Append(text(r))
	case *array.LargeStringBuilder:
		b.Append(text(r))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte{byte(r.Int()), 0, byte(r.Int())})
	case *array.BinaryBuilder:
		b.Append([]byte(strings.Repeat(string([]byte{0xff, 0, byte(r.Int())}), r.IntN(3))))
	case *array.Date32Builder:
		b.Append(arrow.Date32(r.IntN(40000) - 10000))
	case *array.Date64Builder:
		b.Append(arrow.Date64((r.Int64N(40000) - 10000) * 86400000))
	case *array.Time32Builder:
		b.Append(arrow.Time32(clock))
	case *array.Time64Builder:
		b.Append(arrow.Time64(clock*1e6 + r.Int64N(1000)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(r.Int64N(4e9) - 1e9))
	case *array.DurationBuilder:
		b.Append(arrow.Duration(r.Int64N(1e6)))
	case *array.NullBuilder:
		b.AppendNull()
	default:
		nested(r, b, nulls)
	}
}

func nested(r *rand.Rand, b array.Builder, nulls float64) {
	switch b := b.(type) {
	case *array.MapBuilder: // before lists: a map's builder is one too
		b.Append(true)
		for i := range r.IntN(3) {
			b.KeyBuilder().(*array.StringBuilder).Append(fmt.Sprint("k", i))
			value(r, b.ItemBuilder(), nulls)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range 2 {
			value(r, b.ValueBuilder(), nulls)
		}
	case array.ListLikeBuilder:
		b.Append(true)
		for range r.IntN(4) {
			value(r, b.ValueBuilder(), nulls)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			value(r, b.FieldBuilder(i), nulls)
		}
	default:
		panic(fmt.Sprintf("no value for %T", b))
	}
}

func text(r *rand.Rand) string {
	return []string{"", "a", "ünï→😀", "tab\tnul\x00bell\a", strings.Repeat("x", r.IntN(300)), fmt.Sprint("line ", r.Uint32())}[r.IntN(6)]
}

// Slice is the slice that files are of.
func Slice(key string) flow.Slice {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return flow.NewSlice(flow.Partition{Selection: flow.SelectionID{1, 2, 3}, Stream: "events", Key: key}, day, day.Add(time.Hour), 0)
}

// Write writes records into one file as a sink does, each overwritten when it was taken, and returns the file and what was
// rejected of each record.
func Write(t testing.TB, f partfile.Format, info partfile.Info, overwrite func(arrow.Record), records ...arrow.Record) (file []byte, rejected [][]sinks.Rejected) {
	t.Helper()
	enc, err := f.NewEncoder(info)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	check := func(err error) {
		t.Helper()
		if err != nil {
			enc.Release(true)
			t.Fatal(err)
		}
	}
	check(enc.Begin(&out))
	c := f.NewChunk()
	for i, rec := range records {
		var bad []sinks.Rejected
		for row := 0; row < int(rec.NumRows()); {
			next, r, err := enc.Fill(c, rec, row)
			check(err)
			bad = append(bad, r...)
			if row = next; c.Full() || i%2 == 1 { // chunks of one record and of two
				check(enc.Write(c))
				c.Reset()
			}
		}
		if overwrite != nil {
			overwrite(rec)
		}
		rejected = append(rejected, bad)
	}
	check(enc.Write(c))
	check(enc.Finish())
	enc.Release(false)
	return out.Bytes(), rejected
}
