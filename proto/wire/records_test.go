package wire

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

var utcNanos = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}

// logSchema is that of a log stream.
func logSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: utcNanos, Nullable: true},
		{Name: "received_from", Type: utcNanos},
		{Name: "severity_text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "log_id", Type: arrow.BinaryTypes.String},
		{Name: "attributes", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
		{Name: "body_raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
}

// wideSchema has a column of each kind that frames carry.
func wideSchema() *arrow.Schema {
	nested := arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int16, Nullable: true},
		arrow.Field{Name: "b", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	)
	types := []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float64,
		arrow.FixedWidthTypes.Float16, &arrow.Decimal128Type{Precision: 20, Scale: 2}, arrow.FixedWidthTypes.Date32,
		arrow.FixedWidthTypes.Time64us, utcNanos, arrow.FixedWidthTypes.Duration_ms, arrow.FixedWidthTypes.MonthDayNanoInterval,
		arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeBinary, &arrow.FixedSizeBinaryType{ByteWidth: 3},
		arrow.LargeListOf(arrow.PrimitiveTypes.Int32), arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int64), nested,
		arrow.ListOf(nested), arrow.MapOf(arrow.PrimitiveTypes.Int32, nested),
	}
	fields := logSchema().Fields()
	for i, t := range types {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%02d_%s", i, t.Name()), Type: t, Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// randomRecord returns a record of random values, some null.
func randomRecord(rng *rand.Rand, alloc memory.Allocator, schema *arrow.Schema, rows int) arrow.Record {
	b := array.NewRecordBuilder(alloc, schema)
	defer b.Release()
	for i, f := range schema.Fields() {
		nullShare := 0.0
		if f.Nullable {
			nullShare = []float64{0, 0.3, 1}[rng.IntN(3)]
		}
		for range rows {
			appendRandom(rng, b.Field(i), nullShare)
		}
	}
	return b.NewRecord()
}

var words = []string{"", "a", "GET /index.html HTTP/1.1", "héllo wörld", "日本語のログ", "\U0001F600", "\x00nul"}

func appendRandom(rng *rand.Rand, b array.Builder, nullShare float64) {
	if rng.Float64() < nullShare {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(rng.IntN(2) == 0)
	case *array.StringBuilder:
		b.Append(words[rng.IntN(len(words))])
	case *array.LargeStringBuilder:
		b.Append(words[rng.IntN(len(words))])
	case *array.BinaryBuilder:
		b.Append([]byte{byte(rng.Uint32()), 0xff, byte(rng.Uint32())}[:rng.IntN(4)])
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte{byte(rng.Uint32()), 2, 3})
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(rng.Int64()))
	case *array.MonthDayNanoIntervalBuilder:
		b.Append(arrow.MonthDayNanoInterval{Months: rng.Int32(), Days: rng.Int32(), Nanoseconds: rng.Int64()})
	case *array.MapBuilder: // before ListLikeBuilder, which it satisfies
		b.Append(true)
		for range rng.IntN(3) {
			appendRandom(rng, b.KeyBuilder(), 0)
			appendRandom(rng, b.ItemBuilder(), 0.2)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range 2 {
			appendRandom(rng, b.ValueBuilder(), 0.2)
		}
	case array.ListLikeBuilder:
		b.Append(true)
		for range rng.IntN(4) {
			appendRandom(rng, b.ValueBuilder(), 0.2)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(rng, b.FieldBuilder(i), 0.2)
		}
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(rng.Int64()))
	case *array.Date32Builder:
		b.Append(arrow.Date32(rng.IntN(40000)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(rng.Int64N(86400e6)))
	case *array.DurationBuilder:
		b.Append(arrow.Duration(rng.Int64()))
	default:
		if err := b.AppendValueFromString(strconv.Itoa(rng.IntN(100))); err != nil {
			panic(fmt.Sprintf("%T: %v", b, err))
		}
	}
}

func checked(t testing.TB) *memory.CheckedAllocator {
	t.Helper()
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	t.Cleanup(func() { alloc.AssertSize(t, 0) })
	return alloc
}
