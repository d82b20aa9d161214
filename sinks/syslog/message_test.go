package syslog

import (
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

var full = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColObservedTimestamp, Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColSeverityNumber, Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColSource, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	{Name: "sequence", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "labels", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
}, nil)

const rows = `[
  {"timestamp": "2026-11-01T10:20:30.123456789Z", "observed_timestamp": "2026-11-02T00:00:00.000Z", "severity_text": "ERROR", "severity_number": 17,
   "body": "it broke", "source": "elsa", "log_id": "1", "log_name": "Web Access ü",
   "attributes": [{"key": "host", "value": "web-1"}, {"key": "a b", "value": "1"}, {"key": "q", "value": "\"]\\"}], "sequence": 7, "labels": ["x", "y"]},
  {"observed_timestamp": "2026-11-02T00:00:00.005Z", "body": "größer", "source": "elsa", "log_id": "1"},
  {"body": null}
]`

func TestMessages(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer alloc.AssertSize(t, 0)
	rec, _, err := array.RecordFromJSON(alloc, full, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	const (
		first = `[sluice@32473 id="ID" log_id="1" log_name="Web Access ü" stream="events" source="elsa" severity_text="ERROR" timestamp="2026-11-01T10:20:30.123456789Z"]` +
			`[attributes@32473 host="web-1" q="\"\]\\"][attributes_json@32473 json="{\"a b\":\"1\"}"][columns@32473 sequence="7" labels="[\"x\",\"y\"\]"] it broke`
		second = `[sluice@32473 id="ID" log_id="1" stream="events" source="elsa"] `
		third  = `[sluice@32473 id="ID" stream="events"]`
	)
	for _, tt := range []struct {
		name, settings string
		want           []string
	}{
		{"defaults", ``, []string{
			`<11>1 2026-11-01T10:20:30.123456Z elsa Web_Access__ - events ` + first,
			`<14>1 2026-11-02T00:00:00.005000Z elsa - - events ` + second + bom + `größer`,
			`<14>1 - elsa - - events ` + third,
		}},
		{"columns", `, "facility": "local7", "severity": "debug", "bom": "never", "app_name": "", "msg_id": "{labels.tenant}-{partition}",
		  "columns": {"hostname": "attributes.host", "proc_id": "sequence"}`, []string{
			`<187>1 2026-11-01T10:20:30.123456Z web-1 - 7 acme-one ` + first,
			`<191>1 2026-11-02T00:00:00.005000Z elsa - - acme-one ` + second + `größer`,
			`<191>1 - elsa - - acme-one ` + third,
		}},
	} {
		c := config(`{"address": "localhost:1"%s}`, tt.settings)
		c.Labels = map[string]string{"tenant": "acme"}
		s, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEncoder(&s, c, sinktest.Hours("one", 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		r, err := columns.New(full)
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.Bind(rec)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for row := range b.Len() {
			m, err := e.append(nil, b, row, "ID")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestSeverity(t *testing.T) {
	var got []int
	for n := range 26 {
		s, ok := severityOf(n)
		if ok != (n > 0) {
			t.Errorf("%d: %v", n, ok)
		}
		got = append(got, s)
	}
	want := []int{0, 7, 7, 7, 7, 7, 7, 7, 7, 6, 5, 5, 5, 4, 4, 4, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestHeaderField(t *testing.T) {
	for text, want := range map[string]string{"": "-", "a b\tc": "a_b_c", "\x7fü→\xff": "____", "abcdef": "abcde"} {
		if got := headerField(text, 5); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSettings(t *testing.T) {
	for settings, want := range map[string]string{
		`{"address": "localhost:514"}`:  "",
		`{}`:                            "address",
		`{"address": "localhost"}`:      "isn't HOST:PORT",
		`{"address": "localhost:http"}`: "is no port",
		`{"address": "localhost:514", "framing": "udp"}`:                               "framing",
		`{"address": "localhost:514", "app_name": "{nothing}"}`:                        "app_name",
		`{"address": "localhost:514", "hostname": "{labels.x}"}`:                       "has no labels",
		`{"address": "localhost:514", "columns": {"host": "x"}}`:                       "columns",
		`{"address": "localhost:514", "sd_id": "sluice"}`:                              "sd_id",
		`{"address": "localhost:514", "max_message": 100}`:                             "max_message",
		`{"address": "localhost:514", "timeout": "0s"}`:                                "timeout",
		`{"address": "localhost:514", "tls": {"cert_file": "x"}}`:                      "go together",
		`{"address": "localhost:514", "prot": "udp"}`:                                  "prot",
		`{"address": "localhost:514", "facility": "local8", "severity": "bad"}`:        "local8",
		`{"address": "localhost:514", "tls": {"ca_file": "/no/such/file", "nam": ""}}`: "nam",
	} {
		err := Definition.Check(t.Context(), config("%s", settings))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Config) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
	n, err := Definition.Buffer(config(`{"address": "localhost:514", "max_message": "1MiB"}`))
	if err != nil || n < 1<<20 || n > 64<<20 {
		t.Errorf("buffer %d, %v", n, err)
	}
}
