package splunkhec

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

var update = flag.Bool("update", false, "write testdata anew: searches and saved fields of users rest on it")

var (
	instant = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	texts   = arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String)
	lines   = arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: instant, Nullable: true},
		{Name: flow.ColObservedTimestamp, Type: instant, Nullable: true},
		{Name: flow.ColReceivedFrom, Type: instant, Nullable: true},
		{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColSeverityNumber, Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
		{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: flow.ColSource, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColLogID, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColAttributes, Type: texts, Nullable: true},
		{Name: "bytes", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	usage = arrow.NewSchema([]arrow.Field{
		{Name: flow.ColReceivedFrom, Type: instant, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "bytes", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
)

// TestEvents holds the events of records with everything, with nothing, and with what a collector doesn't take as a text.
func TestEvents(t *testing.T) {
	const full = `{
		"timestamp": "2026-11-01T10:20:30.123456789Z", "observed_timestamp": "2026-11-01T10:21:00Z", "received_from": "2026-11-01T10:00:00Z",
		"severity_text": "WARN", "severity_number": 13, "body": "say \"no\", then → yes", "source": "elsa", "log_id": "id-1", "log_name": "web",
		"attributes": [{"key": "host", "value": "web-1"}, {"key": "log_id", "value": "of the line"}, {"key": "empty", "value": ""}, {"key": "none", "value": null}],
		"bytes": "42", "tags": ["a", "b"]}`
	for _, tt := range []struct {
		name, settings string
		schema         *arrow.Schema
		records        string
	}{
		{"full", ``, lines, `[` + full + `]`},
		{"templates", `, "host": "{partition}", "index": "i-{labels.tenant}", "sourcetype": "", "source": "{date} {stream}"`, lines, `[` + full + `]`},
		{"without-attributes", `, "attributes": false`, lines, `[` + full + `]`},
		{"empty", ``, lines, `[{"body": ""}, {"body": " \t\r"}, {"body": "\u0000"}, {"body": "a\u0000"}, {"observed_timestamp": "2026-11-01T10:21:00Z", "body": "x"}]`},
		{"bytes", ``, lines, `[{"body": "\ufffd\ufffd not UTF-8", "body_raw": "//4gbm90IFVURi04"}]`},
		{"before-1970", ``, lines, `[{"timestamp": "1969-12-31T23:59:59.5Z", "body": "old"}]`},
		{"object", ``, usage, `[{"received_from": "2026-11-01T00:00:00Z", "day": "2026-11-01", "bytes": "9007199254740993"}, {"day": "2026-11-02"}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer alloc.AssertSize(t, 0)
			rec, _, err := array.RecordFromJSON(alloc, tt.schema, strings.NewReader(tt.records))
			if err != nil {
				t.Fatal(err)
			}
			defer rec.Release()
			c := sinks.Config{
				Settings: []byte(`{"endpoint": "http://x", "token": "t"` + tt.settings + `}`), Pipeline: "prod", Source: "elsa",
				Labels: map[string]string{"tenant": "acme"},
			}
			s, err := parse(c)
			if err != nil {
				t.Fatal(err)
			}
			reader, err := columns.New(tt.schema)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := reader.Bind(rec)
			if err != nil {
				t.Fatal(err)
			}
			enc, err := newEncoder(&s, c, sinktest.Hours("one", 10, 11))
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for row := range rows.Len() {
				start := len(got)
				if got, err = enc.append(got, rows, row, "THE-ID"); err != nil {
					t.Fatal(err)
				}
				if !json.Valid(got[start:]) {
					t.Errorf("no JSON: %s", got[start:])
				}
				got = append(got, '\n')
			}
			file := filepath.Join("testdata", tt.name+".golden")
			if *update {
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got) {
				t.Error(cmp.Diff(string(want), string(got)))
			}
		})
	}
}
