package flow

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/golden.json: a new format, not a fix")

type golden struct {
	Selections map[string]string `json:"selections"`
	Slices     map[string]string `json:"slices"`
	Digests    map[string]string `json:"digests"`
	Canonical  map[string]string `json:"canonical"`
	Columns    map[string]Sum    `json:"columns"`
}

func TestGolden(t *testing.T) {
	got := golden{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}, map[string]Sum{}}
	selection := func(name, source string, settings map[string]json.RawMessage) SelectionID {
		id, err := NewSelectionID(source, settings)
		if err != nil {
			t.Fatal(err)
		}
		got.Selections[name] = id.String()
		return id
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	plain := selection("source alone", "rapid7-download", nil)
	selection("empty source", "", nil)
	selection("query", "rapid7-download", map[string]json.RawMessage{"query": raw(`"where(error)"`)})
	selection("query trimmed", "rapid7-download", map[string]json.RawMessage{"query": raw(`" where(error)\n"`)})
	selection("empty query", "rapid7-download", map[string]json.RawMessage{"query": raw(`""`)})
	selection("two keys", "elsa", map[string]json.RawMessage{"query": raw(`"a"`), "account": raw(`"b"`)})
	selection("values of every kind", "acme", map[string]json.RawMessage{
		"v": raw(`{"z":[1, 1.0, 1e3, true, null], "a":{"<&>":"é\u2028\"\\\t\u0001"}}`),
	})

	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	slice := func(name string, s Slice) { got.Slices[name] = s.ID.String() }
	p := Partition{Selection: plain, Stream: "events", Key: "aee00b66-a543-43dc-b093-53963c2e8f41"}
	slice("a day", NewSlice(p, at, at.Add(24*time.Hour), 0))
	slice("revision 1", NewSlice(p, at, at.Add(24*time.Hour), 1))
	slice("a millisecond", NewSlice(p, at, at.Add(time.Millisecond), 0))
	slice("before 1970", NewSlice(p, time.UnixMilli(-2), time.UnixMilli(-1), 0))
	slice("no partition", NewSlice(Partition{Selection: plain, Stream: "usage"}, at, at.Add(time.Hour), 0))
	slice("the stream runs into the partition", NewSlice(Partition{Selection: plain, Stream: "usag", Key: "e"}, at, at.Add(time.Hour), 0))

	for name, record := range map[string]string{"empty": "", "a line": "GET / HTTP/1.1 200", "bytes": "\x00\xff", "257 bytes": string(make([]byte, 257))} {
		got.Digests[name] = DigestOf([]byte(record)).String()
	}
	got.Digests["sum of two"] = DigestOf([]byte("a")).Plus(DigestOf([]byte("b"))).String()
	got.Digests["doubled"] = DigestOf([]byte("a")).Plus(DigestOf([]byte("a"))).String()

	rec := goldenRecord()
	defer rec.Release()
	var names []string
	for i, f := range rec.Schema().Fields() {
		names = append(names, f.Name)
		for row := range int(rec.NumRows()) {
			b, err := appendCanonical(nil, rec.Column(i), row)
			if err != nil {
				t.Fatal(err)
			}
			got.Canonical[f.Name+[]string{" value", " null"}[row]] = hex.EncodeToString(b)
		}
	}
	sum, err := SumColumns(rec, names)
	if err != nil {
		t.Fatal(err)
	}
	got.Columns["all"] = sum
	if sum, err = SumColumns(rec, []string{"utf8", "int16"}); err != nil {
		t.Fatal(err)
	}
	got.Columns["two"] = sum

	file := filepath.Join("testdata", "golden.json")
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
	if got.Selections["query"] != got.Selections["query trimmed"] || got.Selections["empty query"] == got.Selections["source alone"] {
		t.Error("a query must be trimmed, and an empty one isn't one left out")
	}
}

// goldenRecord has a column of each type with a canonical form: a value, then null.
func goldenRecord() arrow.Record {
	pair := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int8, Nullable: true})
	columns := []struct {
		name string
		typ  arrow.DataType
		add  func(array.Builder)
	}{
		{"bool", arrow.FixedWidthTypes.Boolean, func(b array.Builder) { b.(*array.BooleanBuilder).Append(true) }},
		{"int16", arrow.PrimitiveTypes.Int16, func(b array.Builder) { b.(*array.Int16Builder).Append(-2) }},
		{"uint64", arrow.PrimitiveTypes.Uint64, func(b array.Builder) { b.(*array.Uint64Builder).Append(math.MaxUint64) }},
		{"float32", arrow.PrimitiveTypes.Float32, func(b array.Builder) { b.(*array.Float32Builder).Append(1.5) }},
		{"nan", arrow.PrimitiveTypes.Float64, func(b array.Builder) {
			b.(*array.Float64Builder).Append(math.Float64frombits(0xFFF8000000000001))
		}},
		{"date32", arrow.FixedWidthTypes.Date32, func(b array.Builder) { b.(*array.Date32Builder).Append(20000) }},
		{"timestamp", arrow.FixedWidthTypes.Timestamp_ns, func(b array.Builder) { b.(*array.TimestampBuilder).Append(1_761_955_200_000_000_001) }},
		{"decimal128", &arrow.Decimal128Type{Precision: 10, Scale: 2}, func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(-3)) }},
		{"utf8", arrow.BinaryTypes.String, func(b array.Builder) { b.(*array.StringBuilder).Append("é") }},
		{"binary", arrow.BinaryTypes.Binary, func(b array.Builder) { b.(*array.BinaryBuilder).Append([]byte{}) }},
		{"list", arrow.ListOf(arrow.PrimitiveTypes.Int64), func(b array.Builder) {
			b.(*array.ListBuilder).Append(true)
			b.(*array.ListBuilder).ValueBuilder().(*array.Int64Builder).AppendValues([]int64{1, 2}, []bool{true, false})
		}},
		{"struct", pair, func(b array.Builder) {
			b.(*array.StructBuilder).Append(true)
			b.(*array.StructBuilder).FieldBuilder(0).(*array.StringBuilder).Append("x")
			b.(*array.StructBuilder).FieldBuilder(1).AppendNull()
		}},
		{"map", arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), func(b array.Builder) {
			b.(*array.MapBuilder).Append(true)
			b.(*array.MapBuilder).KeyBuilder().(*array.StringBuilder).Append("k")
			b.(*array.MapBuilder).ItemBuilder().(*array.StringBuilder).Append("v")
		}},
	}
	var fields []arrow.Field
	for _, c := range columns {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.typ, Nullable: true})
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for i, c := range columns {
		c.add(b.Field(i))
		b.Field(i).AppendNull()
	}
	return b.NewRecord()
}
