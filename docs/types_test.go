package docs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/kafka"
	"github.com/sluice-io/sluice/sinks/opensearch"
	"github.com/sluice-io/sluice/sinks/parquetfile"
	"github.com/sluice-io/sluice/sinks/postgres"
)

// typeExamples are the types in the order of the table, with a value in the form of Arrow's own JSON.
var typeExamples = []struct {
	of    arrow.DataType
	value string
}{
	{arrow.FixedWidthTypes.Boolean, `true`},
	{arrow.PrimitiveTypes.Int8, `-12`},
	{arrow.PrimitiveTypes.Int16, `-1234`},
	{arrow.PrimitiveTypes.Int32, `-123456`},
	{arrow.PrimitiveTypes.Int64, `"-9007199254740993"`},
	{arrow.PrimitiveTypes.Uint8, `250`},
	{arrow.PrimitiveTypes.Uint16, `65000`},
	{arrow.PrimitiveTypes.Uint32, `4000000000`},
	{arrow.PrimitiveTypes.Uint64, `"18446744073709551615"`},
	{arrow.FixedWidthTypes.Float16, `0.5`},
	{arrow.PrimitiveTypes.Float32, `0.1`},
	{arrow.PrimitiveTypes.Float64, `1e300`},
	{&arrow.Decimal128Type{Precision: 10, Scale: 2}, `"12345678.90"`},
	{&arrow.Decimal256Type{Precision: 40, Scale: 2}, `"12345678.90"`},
	{arrow.BinaryTypes.String, `"say \"no\", then\nyes"`},
	{arrow.BinaryTypes.LargeString, `"text"`},
	{arrow.BinaryTypes.Binary, `"/wA="`},
	{&arrow.FixedSizeBinaryType{ByteWidth: 2}, `"/wA="`},
	{arrow.FixedWidthTypes.Date32, `"2026-11-01"`},
	{arrow.FixedWidthTypes.Date64, `"2026-11-01"`},
	{arrow.FixedWidthTypes.Time32s, `"12:30:00"`},
	{arrow.FixedWidthTypes.Time32ms, `"12:30:00.125"`},
	{arrow.FixedWidthTypes.Time64ns, `"12:30:00.000000001"`},
	{&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, `"2026-11-01T12:30:00.000000001Z"`},
	{&arrow.TimestampType{Unit: arrow.Millisecond}, `"2026-11-01T12:30:00.125Z"`},
	{arrow.FixedWidthTypes.Duration_ms, `"1500ms"`},
	{arrow.ListOf(arrow.PrimitiveTypes.Int64), `[1, null, 3]`},
	{arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}), `{"a": 1, "b": null}`},
	{arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), `[{"key": "k", "value": "v"}, {"key": "n", "value": null}]`},
	{arrow.FixedWidthTypes.MonthInterval, ``},
	{arrow.Null, `null`},
}

// TestTypes holds the table of docs/types.md: what each type becomes is what the encoders write.
func TestTypes(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Arrow type | NDJSON | CSV | Parquet | Arrow IPC |\n|---|---|---|---|---|\n")
	for _, e := range typeExamples {
		schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: e.of, Nullable: true}}, nil)
		b.WriteString("| `" + e.of.String() + "` | " + written(t, encode.NDJSON, schema, e.value) + " | " + written(t, encode.CSV, schema, e.value) +
			" | " + parquetType(t, schema) + " | " + ipcType(t, schema) + " |\n")
	}
	generated(t, "docs/types.md", "types", b.String())
}

// TestAvroTypes holds the table of Avro types of docs/types.md.
func TestAvroTypes(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Arrow type | Avro type |\n|---|---|\n")
	for _, e := range typeExamples {
		avro, err := kafka.AvroType(e.of)
		switch {
		case fault.KindOf(err) == fault.Config:
			avro = "an error when the pipeline starts"
		case err != nil:
			t.Fatal(err)
		default:
			avro = "`" + avro + "`"
		}
		b.WriteString("| `" + e.of.String() + "` | " + avro + " |\n")
	}
	generated(t, "docs/types.md", "avro", b.String())
}

// TestPostgresTypes holds the table of column types of docs/types.md.
func TestPostgresTypes(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Arrow type | PostgreSQL type |\n|---|---|\n")
	for _, e := range typeExamples {
		typ, ok := postgres.Type(e.of)
		if typ = "`" + typ + "`"; !ok {
			typ = "an error when the pipeline starts"
		}
		b.WriteString("| `" + e.of.String() + "` | " + typ + " |\n")
	}
	generated(t, "docs/types.md", "postgres", b.String())
}

// parquetType is what a column of a Parquet file is, as its footer says: the physical type and the logical one.
func parquetType(t *testing.T, schema *arrow.Schema) string {
	t.Helper()
	types, err := parquetfile.Types(schema, parquetfile.Micros)
	if refused(err) {
		return "an error when the pipeline starts"
	}
	if err != nil {
		t.Fatal(err)
	}
	return "`" + strings.Join(types, "`, `") + "`"
}

func ipcType(t *testing.T, schema *arrow.Schema) string {
	t.Helper()
	err := ipcfile.New(ipcfile.Options{Kind: ipcfile.File, Compression: ipcfile.None}).Check(schema)
	if refused(err) {
		return "an error when the pipeline starts"
	}
	if err != nil {
		t.Fatal(err)
	}
	return "the same"
}

func refused(err error) bool {
	var e *fault.Error
	return errors.As(err, &e) && e.Kind == fault.Config
}

// TestFields holds the table of ECS names of docs/types.md.
func TestFields(t *testing.T) {
	var b strings.Builder
	b.WriteString("| column | field |\n|---|---|\n")
	for _, name := range []string{
		flow.ColTimestamp, flow.ColObservedTimestamp, flow.ColReceivedFrom, flow.ColReceivedTo, flow.ColSeverityText, flow.ColSeverityNumber, flow.ColBody,
		flow.ColBodyRaw, flow.ColSource, flow.ColLogID, flow.ColLogName, flow.ColAttributes, "host",
	} {
		b.WriteString("| `" + name + "` | `" + opensearch.Field("elsa", name) + "` |\n")
	}
	b.WriteString("| another, such as `log_type` of the source `elsa` | `" + opensearch.Field("elsa", "log_type") + "` |\n")
	generated(t, "docs/types.md", "fields", b.String())
}

// written is a value as a format writes it, as a cell of a table.
func written(t *testing.T, f encode.Format, schema *arrow.Schema, value string) string {
	t.Helper()
	enc, err := encode.New(f, schema)
	if refused(err) {
		return "an error when the pipeline starts"
	}
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"c": `+value+`}]`))
	if err != nil {
		t.Fatalf("%s: %v", schema.Field(0).Type, err)
	}
	defer rec.Release()
	out, _, err := enc.Append(nil, rec, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimRight(string(out), "\r\n")
	if f == encode.NDJSON {
		text = strings.TrimSuffix(strings.TrimPrefix(text, `{"c":`), "}")
		if text == "{" {
			return "the key is left out"
		}
	}
	if text == "" {
		return "nothing"
	}
	return "`" + strings.NewReplacer("\n", "⏎", "|", `\|`).Replace(text) + "`"
}
