package docs_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-io/sluice/internal/realpart/hec"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/otlp"
	"github.com/sluice-io/sluice/sinks/splunkhec"
	"github.com/sluice-io/sluice/sinks/syslog"
)

// The tables of receivers are made of what the sinks send: each place of a message that holds a column's value stands in the table.

// place is where a value stands in a message, and how it is written there.
type place struct{ name, text string }

// receiverFormats have each a receiver, which returns the messages that came since, and the sink that sends to it.
var receiverFormats = []struct {
	name string
	open func(t *testing.T) (d sinks.Definition, settings string, messages func() [][]place)
}{
	{"syslog", openSyslog},
	{"otlp", openOTLP},
	{"splunk_hec", openHEC},
}

func openHEC(t *testing.T) (sinks.Definition, string, func() [][]place) {
	server := hec.Start(t, hec.Options{Tokens: map[string]hec.Token{"t": {Ack: true}}})
	seen := 0
	return splunkhec.Definition, fmt.Sprintf(`{"endpoint": %q, "token": "t"}`, server.URL), func() (out [][]place) {
		all := server.Events()
		for _, e := range all[seen:] {
			var m []place
			add := func(name, text string) {
				if text != "" {
					m = append(m, place{name, text})
				}
			}
			add("`time`", e.Time.String())
			add("`host`", e.Host)
			add("`source`", e.Source)
			add("`sourcetype`", e.Sourcetype)
			add("`index`", e.Index)
			var text string
			var object map[string]any
			if json.Unmarshal(e.Event, &text) == nil {
				m = append(m, place{"`event`", text})
			} else if json.Unmarshal(e.Event, &object) == nil {
				for _, k := range slices.Sorted(maps.Keys(object)) {
					m = append(m, place{"`event." + k + "`", fmt.Sprint(object[k])})
				}
			}
			for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
				add("`fields."+k+"`", e.Fields[k])
			}
			out = append(out, m)
		}
		seen = len(all)
		return out
	}
}

func openOTLP(t *testing.T) (sinks.Definition, string, func() [][]place) {
	var got [][]place
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collogs.ExportLogsServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil {
			t.Error(err)
		}
		for _, resource := range request.GetResourceLogs() {
			for _, scope := range resource.GetScopeLogs() {
				for _, l := range scope.GetLogRecords() {
					var m []place
					number := func(name string, n uint64) {
						if n != 0 {
							m = append(m, place{name, strconv.FormatUint(n, 10)})
						}
					}
					number("`time_unix_nano`", l.GetTimeUnixNano())
					number("`observed_time_unix_nano`", l.GetObservedTimeUnixNano())
					number("`severity_number`", uint64(l.GetSeverityNumber()))
					if s := l.GetSeverityText(); s != "" {
						m = append(m, place{"`severity_text`", s})
					}
					kind, text := anyValue(l.GetBody())
					m = append(m, place{"`body` (" + kind + ")", text})
					for _, a := range l.GetAttributes() {
						kind, text := anyValue(a.GetValue())
						m = append(m, place{"attribute `" + a.GetKey() + "` (" + kind + ")", text})
					}
					for _, a := range resource.GetResource().GetAttributes() {
						_, text := anyValue(a.GetValue())
						m = append(m, place{"resource `" + a.GetKey() + "`", text})
					}
					got = append(got, m)
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return otlp.Definition, fmt.Sprintf(`{"endpoint": %q, "protocol": "http", "compression": "none"}`, server.URL), func() [][]place {
		out := got
		got = nil
		return out
	}
}

func anyValue(v *common.AnyValue) (kind, text string) {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return "text", v.StringValue
	case *common.AnyValue_BoolValue:
		return "bool", strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_IntValue:
		return "int", strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return "double", strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *common.AnyValue_BytesValue:
		return "bytes", base64.StdEncoding.EncodeToString(v.BytesValue)
	}
	return "nothing", ""
}

func openSyslog(t *testing.T) (sinks.Definition, string, func() [][]place) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan []byte, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(all)
				return
			}
			b, _ := io.ReadAll(c)
			all <- b // before the sink learns that it was read
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for range all { //nolint:revive // waits for the end
		}
	})
	return syslog.Definition, fmt.Sprintf(`{"address": %q}`, l.Addr().String()), func() (out [][]place) {
		for len(all) > 0 {
			b := <-all
			for len(b) > 0 {
				size, rest, _ := bytes.Cut(b, []byte(" "))
				n, err := strconv.Atoi(string(size))
				if err != nil || n > len(rest) {
					t.Fatalf("a frame begins with %q", size)
				}
				out, b = append(out, syslogPlaces(t, string(rest[:n]))), rest[n:]
			}
		}
		return out
	}
}

func syslogPlaces(t *testing.T, message string) (m []place) {
	parts := strings.SplitN(message, " ", 7)
	if len(parts) < 7 {
		t.Fatalf("message %q", message)
	}
	for i, name := range []string{"PRI", "TIMESTAMP", "HOSTNAME", "APP-NAME", "PROCID", "MSGID"} {
		if text := strings.TrimSuffix(strings.TrimPrefix(parts[i], "<"), ">1"); text != "-" {
			m = append(m, place{name, text})
		}
	}
	rest := parts[6]
	for strings.HasPrefix(rest, "[") {
		id, after, _ := strings.Cut(rest[1:], " ")
		rest = after
		for {
			name, after, _ := strings.Cut(rest, `="`)
			var value strings.Builder
			i := 0
			for ; after[i] != '"'; i++ {
				if after[i] == '\\' {
					i++
				}
				value.WriteByte(after[i])
			}
			m = append(m, place{"`[" + id + " " + name + "=]`", value.String()})
			if rest = after[i+1:]; rest[0] == ']' {
				rest = rest[1:]
				break
			}
			rest = rest[1:]
		}
	}
	if text, ok := strings.CutPrefix(rest, " "); ok {
		m = append(m, place{"MSG", strings.TrimPrefix(text, "\xef\xbb\xbf")})
	}
	return m
}

// deliverTo sends records of a schema, given as Arrow's JSON, and returns the messages that came of them; ok is false if the pipeline doesn't start.
func deliverTo(t *testing.T, d sinks.Definition, settings string, messages func() [][]place, schema *arrow.Schema, records string) (out [][]place, ok bool) {
	t.Helper()
	stream := sinks.Stream{Name: "events", Schema: schema, PartitionBy: "log_id"}
	c := sinks.Config{Settings: []byte(settings), Pipeline: "main", Source: "the-type", Streams: []sinks.Stream{stream}, Sluice: "1.0.0"}
	if err := d.Check(t.Context(), c); refused(err) {
		return nil, false
	} else if err != nil {
		t.Fatal(err)
	}
	k, err := d.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	s := flow.NewSlice(flow.Partition{Stream: "events", Key: "the-id"}, day, day.Add(time.Hour), 0)
	tx, err := k.Begin(t.Context(), s, 0, schema)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(records))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	rejected, err := tx.Append(t.Context(), flow.Batch{Slice: s.ID, Records: rec})
	if err != nil || len(rejected) > 0 {
		t.Fatal(err, rejected)
	}
	sum := flow.Sum{Rows: uint64(rec.NumRows())}
	if _, err := tx.Commit(t.Context(), sinks.Account{Read: sum, Delivered: sum}); err != nil {
		t.Fatal(err)
	}
	if out = messages(); len(out) != int(rec.NumRows()) {
		t.Fatalf("%s: %d messages of %d records", d.Type, len(out), rec.NumRows())
	}
	return out, true
}

// TestReceiverTypes holds the table of what syslog, otlp and splunk_hec make of a column of each type, and that nulls are left out.
func TestReceiverTypes(t *testing.T) {
	cells := make([][]string, len(typeExamples))
	for _, f := range receiverFormats {
		d, settings, messages := f.open(t)
		for i, e := range typeExamples {
			schema := arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}, {Name: "c", Type: e.of, Nullable: true}}, nil)
			records := `[{"body": "x"}]`
			if e.value != "" {
				records = `[{"body": "x", "c": ` + e.value + `}, {"body": "y"}]`
			}
			got, ok := deliverTo(t, d, settings, messages, schema, records)
			if !ok {
				cells[i] = append(cells[i], "an error when the pipeline starts")
				continue
			}
			of := func(m []place) string {
				for _, p := range m {
					switch {
					case strings.HasPrefix(p.name, "attribute `c` ("):
						return strings.TrimSuffix(strings.TrimPrefix(p.name, "attribute `c` ("), ")") + " " + cell(p.text)
					case p.name == "`fields.c`", p.name == "`[columns@32473 c=]`":
						return cell(p.text)
					}
				}
				return "left out"
			}
			cells[i] = append(cells[i], of(got[0]))
			if null := of(got[len(got)-1]); null != "left out" {
				t.Errorf("%s: a null of %s is %s", f.name, e.of, null)
			}
		}
	}
	var b strings.Builder
	b.WriteString("| Arrow type | syslog, splunk_hec | otlp |\n|---|---|---|\n")
	for i, e := range typeExamples {
		c := cells[i]
		if c[0] != c[2] {
			t.Errorf("%s: syslog has %s, splunk_hec %s", e.of, c[0], c[2])
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.of, c[0], c[1])
	}
	generated(t, "docs/types.md", "receivers", b.String())
}

func cell(text string) string {
	return "`" + strings.NewReplacer("\n", "⏎", "|", `\|`).Replace(text) + "`"
}

// TestReceiverColumns holds the table of where syslog, otlp and splunk_hec have each column, and what they make of a record with nothing in it.
func TestReceiverColumns(t *testing.T) {
	instant := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: instant, Nullable: true},
		{Name: flow.ColObservedTimestamp, Type: instant, Nullable: true},
		{Name: flow.ColReceivedFrom, Type: instant, Nullable: true},
		{Name: flow.ColReceivedTo, Type: instant, Nullable: true},
		{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColSeverityNumber, Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
		{Name: flow.ColSource, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColLogID, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
		{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: "log_type", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	at := func(seconds, nanos int64) []string {
		t := time.Unix(seconds, nanos).UTC()
		return []string{t.Format("2006-01-02T15:04:05.000000Z"), t.Format("2006-01-02T15:04:05.000000000Z"), strconv.FormatInt(t.UnixNano(), 10), fmt.Sprintf("%d.%09d", seconds, nanos)}
	}
	const records = `[
		{"timestamp": "2026-11-01T10:20:30.123456Z", "observed_timestamp": "2026-11-01T10:21:00.654321Z", "received_from": "2026-11-01T00:00:00Z",
		 "received_to": "2026-11-01T01:00:00Z", "severity_text": "the-severity", "severity_number": 13, "body": "the line", "source": "the-source",
		 "log_id": "the-id", "log_name": "the-name", "attributes": [{"key": "region", "value": "the-region"}], "log_type": "the-log-type"},
		{"observed_timestamp": "2026-11-01T10:21:00.654321Z", "body": "\ufffd", "body_raw": "/w=="},
		{"body": ""}]`
	columns := []struct {
		name, shown string
		record      int
		texts       []string
	}{
		{"timestamp", "`timestamp`", 0, at(1793528430, 123456000)},
		{"observed_timestamp", "`observed_timestamp`", 0, at(1793528460, 654321000)},
		{"observed_timestamp", "`observed_timestamp` where `timestamp` is null", 1, at(1793528460, 654321000)},
		{"received_from", "`received_from`", 0, at(1793491200, 0)},
		{"received_to", "`received_to`", 0, at(1793494800, 0)},
		{"severity_text", "`severity_text`", 0, []string{"the-severity"}},
		{"severity_number", "`severity_number` (13)", 0, []string{"13", "12"}}, // 12: facility 1, severity 4
		{"body", "`body`", 0, []string{"the line"}},
		{"body_raw", "`body_raw`", 1, []string{"\xff", "/w=="}},
		{"source", "`source`", 0, []string{"the-source"}},
		{"log_id", "`log_id`", 0, []string{"the-id"}},
		{"log_name", "`log_name`", 0, []string{"the-name"}},
		{"attributes", "`attributes`, such as `region`", 0, []string{"the-region"}},
		{"log_type", "another, such as `log_type`", 0, []string{"the-log-type"}},
		{"", "(the type of the source)", 0, []string{"the-type"}},
		{"", "(the stream)", 0, []string{"events"}},
	}
	rows := make([]string, len(columns))
	var nothing strings.Builder
	for _, f := range receiverFormats {
		d, settings, messages := f.open(t)
		got, _ := deliverTo(t, d, settings, messages, schema, records)
		for i, c := range columns {
			var names []string
			for _, p := range got[c.record] {
				if slices.Contains(c.texts, p.text) {
					names = append(names, p.name)
				}
			}
			rows[i] += " | " + strings.Join(names, ", ")
			if len(names) == 0 {
				rows[i] += "left out"
			}
		}
		var names []string
		for _, p := range got[2] {
			names = append(names, p.name)
		}
		fmt.Fprintf(&nothing, "| %s | %s |\n", f.name, strings.Join(names, ", "))
	}
	var b strings.Builder
	b.WriteString("| column | syslog | otlp | splunk_hec |\n|---|---|---|---|\n")
	for i, c := range columns {
		b.WriteString("| " + c.shown + rows[i] + " |\n")
	}
	generated(t, "docs/types.md", "receiver-columns", b.String())
	generated(t, "docs/types.md", "receiver-nothing", "| sink | what an empty line whose other columns are null has |\n|---|---|\n"+nothing.String())
}
