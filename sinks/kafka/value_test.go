package kafka

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// manyTypes are a value of each type as Arrow's JSON has it, and what an independent reader makes of its Avro.
var manyTypes = []struct {
	of    arrow.DataType
	value string
	want  any
}{
	{arrow.FixedWidthTypes.Boolean, `true`, true},
	{arrow.PrimitiveTypes.Int8, `-12`, -12},
	{arrow.PrimitiveTypes.Int16, `-1234`, -1234},
	{arrow.PrimitiveTypes.Int32, `-123456`, -123456},
	{arrow.PrimitiveTypes.Int64, `"-9007199254740993"`, int64(-9007199254740993)},
	{arrow.PrimitiveTypes.Uint8, `250`, 250},
	{arrow.PrimitiveTypes.Uint16, `65000`, 65000},
	{arrow.PrimitiveTypes.Uint32, `4000000000`, int64(4000000000)},
	{arrow.PrimitiveTypes.Uint64, `"9223372036854775807"`, int64(math.MaxInt64)},
	{arrow.PrimitiveTypes.Float32, `0.5`, float32(0.5)},
	{arrow.PrimitiveTypes.Float64, `1e300`, 1e300},
	{&arrow.Decimal128Type{Precision: 10, Scale: 2}, `"-12345678.90"`, big.NewRat(-1234567890, 100)},
	{arrow.BinaryTypes.String, `"say \"no\""`, `say "no"`},
	{arrow.BinaryTypes.LargeString, `"text"`, "text"},
	{arrow.BinaryTypes.Binary, `"/wA="`, []byte{0xff, 0}},
	{&arrow.FixedSizeBinaryType{ByteWidth: 2}, `"/wA="`, [2]byte{0xff, 0}},
	{arrow.FixedWidthTypes.Date32, `"2026-11-01"`, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
	{arrow.FixedWidthTypes.Time32ms, `"12:30:00.125"`, 12*time.Hour + 30*time.Minute + 125*time.Millisecond},
	{arrow.FixedWidthTypes.Time64us, `"12:30:00.000125"`, 12*time.Hour + 30*time.Minute + 125*time.Microsecond},
	{arrow.FixedWidthTypes.Time64ns, `"12:30:00.000000001"`, int64(45_000_000_000_001)},
	{&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, `"2026-11-01T12:30:00.000001Z"`, time.Date(2026, 11, 1, 12, 30, 0, 1000, time.UTC)},
	{&arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, `"2026-11-01T12:30:00Z"`, time.Date(2026, 11, 1, 12, 30, 0, 0, time.UTC)},
	{&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, `"1970-01-01T00:00:00.000000001Z"`, int64(1)},
	{arrow.FixedWidthTypes.Duration_ms, `"1500ms"`, int64(1500)},
	{arrow.ListOf(arrow.PrimitiveTypes.Int64), `[1, null, 3]`, []any{int64(1), nil, int64(3)}},
	{arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}), `{"a": 1, "b": null}`, map[string]any{"a": int64(1), "b": nil}},
	{arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), `[{"key": "k", "value": "v"}, {"key": "n", "value": null}]`, map[string]any{"k": "v", "n": nil}},
	{arrow.Null, `null`, nil},
}

// manyRecord has a column of each type: a row that is sliced off, a row of values, a row of nulls.
func manyRecord(t *testing.T, alloc memory.Allocator) arrow.Record {
	t.Helper()
	var fields []arrow.Field
	var row strings.Builder
	for i, e := range manyTypes {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: e.of, Nullable: true})
		fmt.Fprintf(&row, `,"c%d":%s`, i, e.value)
	}
	text := "[{" + row.String()[1:] + "},{" + row.String()[1:] + "},{}]"
	rec, _, err := array.RecordFromJSON(alloc, arrow.NewSchema(fields, nil), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	return rec.NewSlice(1, 3)
}

func TestAvroIsReadByAnother(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	rec := manyRecord(t, alloc)
	v, err := newValues(settings{Value: valueAvro, Key: keyNone}, rec.Schema(), "")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := avro.Parse(string(v.document()))
	if err != nil {
		t.Fatalf("%v\n%s", err, v.document())
	}
	// Canonical form has no logical types; the reader keeps them in its own.
	plain, err := avro.Parse(regexp.MustCompile(`,"(logicalType|unit|precision|scale)":("[a-z-]+"|[0-9]+)`).ReplaceAllString(string(v.document()), ""))
	if err != nil {
		t.Fatal(err)
	}
	print, err := plain.FingerprintUsing(avro.CRC64AvroLE)
	if got := fmt.Sprintf("%x", print); err != nil || got != v.fingerprint() {
		t.Errorf("fingerprint %s, the other has %s, %v", v.fingerprint(), got, err)
	}
	if err := v.bind(rec); err != nil {
		t.Fatal(err)
	}
	for row := range 2 {
		datum, next, reason, err := v.value(nil, row, 1<<20)
		if err != nil || reason != "" || next != row+1 {
			t.Fatal(next, reason, err)
		}
		var got map[string]any
		if err := avro.Unmarshal(schema, datum, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{}
		for i, e := range manyTypes {
			want[fmt.Sprintf("c%d", i)] = e.want
			if row == 1 {
				want[fmt.Sprintf("c%d", i)] = nil
			}
		}
		if diff := cmp.Diff(want, unwrap(got), cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", row, diff)
		}
	}
	rec.Release()
	alloc.AssertSize(t, 0)
}

// unwrap takes away the names that the reader gives to branches of unions.
func unwrap(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		if l, ok := v.([]any); ok {
			for i := range l {
				l[i] = unwrap(l[i])
			}
		}
		return v
	}
	for k, x := range m {
		if len(m) == 1 && (strings.HasPrefix(k, "sluice.") || k == "array" || k == "map" || strings.HasPrefix(k, "long") || strings.HasPrefix(k, "int") ||
			strings.HasPrefix(k, "bytes") || k == "string" || k == "boolean" || k == "double" || k == "float") {
			return unwrap(x)
		}
		m[k] = unwrap(x)
	}
	return m
}

func TestAvroRefuses(t *testing.T) {
	for _, fields := range [][]arrow.Field{
		{{Name: "a", Type: arrow.FixedWidthTypes.MonthInterval}},
		{{Name: "a", Type: arrow.MapOf(arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String)}},
		{{Name: "a-b", Type: arrow.Null}, {Name: "a_b", Type: arrow.Null}},
	} {
		if _, err := newValues(settings{Value: valueAvro, Key: keyNone}, arrow.NewSchema(fields, nil), ""); err == nil {
			t.Errorf("%v was taken", fields)
		}
	}
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	rec, _, err := array.RecordFromJSON(alloc, arrow.NewSchema([]arrow.Field{{Name: "1 n", Type: arrow.PrimitiveTypes.Uint64}}, nil), strings.NewReader(`[{"1 n": "18446744073709551615"}]`))
	if err != nil {
		t.Fatal(err)
	}
	v, err := newValues(settings{Value: valueAvro, Key: keyNone}, rec.Schema(), "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(v.document()), `"name":"_1_n"`) || !strings.Contains(string(v.document()), `"column":"1 n"`) {
		t.Errorf("%s", v.document())
	}
	if err := v.bind(rec); err != nil {
		t.Fatal(err)
	}
	if _, _, reason, err := v.value(nil, 0, 1<<20); err != nil || !strings.Contains(reason, "larger than") {
		t.Errorf("%q, %v", reason, err)
	}
	rec.Release()
	alloc.AssertSize(t, 0)
}

func TestArrowValues(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 100)
	b := sinktest.Batch(alloc, s, 0, bodies)
	v, err := newValues(settings{Value: valueArrow, Key: keyPartition}, sinktest.Schema, "log_id")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.bind(b.Records); err != nil {
		t.Fatal(err)
	}
	var got []string
	messages := 0
	const limit = 16 << 10
	for row := 0; row < 100; messages++ {
		prefix := []byte("prefix")
		out, next, reason, err := v.value(prefix, row, limit)
		if err != nil || reason != "" || next <= row || !bytes.HasPrefix(out, prefix) || len(out)-len(prefix) > limit {
			t.Fatal(row, next, reason, err, len(out))
		}
		r, err := ipc.NewReader(bytes.NewReader(out[len(prefix):]), ipc.WithAllocator(alloc))
		if err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			for i := range int(r.Record().NumRows()) {
				got = append(got, r.Record().Column(1).(*array.String).Value(i))
			}
		}
		if r.Err() != nil || !r.Schema().Equal(sinktest.Schema) {
			t.Fatal(r.Err())
		}
		r.Release()
		row = next
	}
	if diff := cmp.Diff(bodies, got); diff != "" || messages < 4 {
		t.Errorf("%d messages\n%s", messages, diff)
	}
	b.Records.Release()
	alloc.AssertSize(t, 0)
}

func TestKeysAndTimes(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: flow.ColObservedTimestamp, Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "k", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[
		{"timestamp": "2026-11-01T00:00:01.000000001Z", "observed_timestamp": "2026-11-02T00:00:00Z", "k": "a", "n": 7},
		{"observed_timestamp": "2026-11-02T00:00:00Z"},
		{"timestamp": "1969-12-31T00:00:00Z", "observed_timestamp": "2026-11-02T00:00:00Z"},
		{"timestamp": "2999-12-31T00:00:00Z"},
		{}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	s := sinktest.Hours("one", 3, 4)
	for key, want := range map[string][]string{
		keyPartition: {"one", "one", "one", "one", "one"}, keyNone: {"-", "-", "-", "-", "-"}, "k": {"a", "-", "-", "-", "-"}, "n": {"7", "-", "-", "-", "-"},
	} {
		v, err := newValues(settings{Value: valueJSON, Key: key}, schema, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.bind(rec); err != nil {
			t.Fatal(err)
		}
		for row := range want {
			got, ok := v.key([]byte("x"), row, s)
			if !ok {
				got = []byte("x-")
			}
			if string(got) != "x"+want[row] {
				t.Errorf("key %s of row %d is %q, want %q", key, row, got, want[row])
			}
		}
	}
	v, err := newValues(settings{Value: valueJSON, Key: keyNone}, schema, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.bind(rec); err != nil {
		t.Fatal(err)
	}
	observed := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	for row, want := range []time.Time{time.Date(2026, 11, 1, 0, 0, 1, 1, time.UTC), observed, observed, s.From, s.From} {
		if got := v.at(row, s); !got.Equal(want) {
			t.Errorf("time of row %d is %s, want %s", row, got, want)
		}
	}
	for row := range 2 {
		out, _, _, err := v.value(nil, row, 0)
		if err != nil || !json.Valid(out) || bytes.HasSuffix(out, []byte("\n")) {
			t.Errorf("%q, %v", out, err)
		}
	}
}
