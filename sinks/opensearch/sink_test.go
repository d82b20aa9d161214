package opensearch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// everySchema has all core columns, one that sources share and some of a source.
var everySchema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColObservedTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
	{Name: flow.ColReceivedFrom, Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}},
	{Name: flow.ColReceivedTo, Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}},
	{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColSeverityNumber, Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
	{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
	{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	{Name: "host", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "ratio", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

const everyRows = `[
 {"timestamp": "2026-11-01T00:00:00.000000001Z", "observed_timestamp": "2026-11-02T00:00:00Z", "received_from": "2026-11-01T00:00:00Z", "received_to": "2026-11-01T01:00:00Z",
  "severity_text": "WARN", "severity_number": 13, "body": "a", "source": "my-source", "log_id": "id", "log_name": "Web One",
  "attributes": [{"key": "a.b", "value": "1"}, {"key": "a_b", "value": "2"}, {"key": "", "value": "3"}, {"key": "n", "value": null}], "host": "h1", "ratio": "NaN", "list": [1, null], "body_raw": "/wA="},
 {"observed_timestamp": "2026-11-02T00:00:00Z", "received_from": "2026-11-01T00:00:00Z", "received_to": "2026-11-01T01:00:00Z", "body": "b \" \\ \n \u0000", "source": "my-source", "log_id": "id", "log_name": "Web One"}]`

var everyECS = []map[string]any{
	{
		"@timestamp": "2026-11-01T00:00:00.000000001Z", "message": "a",
		"event":     map[string]any{"created": "2026-11-02T00:00:00.000000000Z", "severity": 13.0, "module": "my-source", "dataset": "Web One"},
		"log":       map[string]any{"level": "WARN"},
		"host":      map[string]any{"name": "h1"},
		"labels":    map[string]any{"a_b": "1", "a_b_": "2", "_": "3", "n": nil},
		"my_source": map[string]any{"ratio": nil, "list": []any{1.0, nil}},
		"sluice": map[string]any{
			"log_id": "id", "received_from": "2026-11-01T00:00:00.000000000Z", "received_to": "2026-11-01T01:00:00.000000000Z", "body_raw": "/wA=",
		},
	},
	{
		"@timestamp": "2026-11-02T00:00:00.000000000Z", "message": "b \" \\ \n \x00",
		"event":  map[string]any{"created": "2026-11-02T00:00:00.000000000Z", "module": "my-source", "dataset": "Web One"},
		"sluice": map[string]any{"log_id": "id", "received_from": "2026-11-01T00:00:00.000000000Z", "received_to": "2026-11-01T01:00:00.000000000Z"},
	},
}

// document returns a row as the sink would send it.
func document(t *testing.T, naming string, schema *arrow.Schema, rows string, row int) map[string]any {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	d, err := newDocuments(naming, "my-source", schema)
	if err != nil {
		t.Fatal(err)
	}
	d.bind(rec)
	text := d.append(nil, row, `"2026-11-01T00:00:00.000Z"`)
	d.release()
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

func TestDocuments(t *testing.T) {
	for row, want := range everyECS {
		if diff := cmp.Diff(want, document(t, "ecs", everySchema, everyRows, row)); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", row, diff)
		}
	}
	usage := arrow.NewSchema([]arrow.Field{{Name: "bytes", Type: arrow.PrimitiveTypes.Int64}}, nil)
	for naming, want := range map[string]map[string]any{
		"ecs":     {"@timestamp": "2026-11-01T00:00:00.000Z", "my_source": map[string]any{"bytes": 5.0}},
		"columns": {"@timestamp": "2026-11-01T00:00:00.000Z", "bytes": 5.0},
	} {
		if diff := cmp.Diff(want, document(t, naming, usage, `[{"bytes": 5}]`, 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", naming, diff)
		}
	}
	got := document(t, "columns", everySchema, everyRows, 0)
	for _, name := range []string{"@timestamp", "timestamp", "body", "attributes", "severity_number"} {
		if got[name] == nil {
			t.Errorf("columns: no %s in %v", name, got)
		}
	}
}

func TestSettings(t *testing.T) {
	month := arrow.NewSchema([]arrow.Field{{Name: "m", Type: arrow.FixedWidthTypes.MonthInterval}}, nil)
	clash := arrow.NewSchema([]arrow.Field{{Name: "@timestamp", Type: arrow.BinaryTypes.String}}, nil)
	for _, tt := range []struct {
		name string
		more map[string]any
		as   *arrow.Schema
		want string
	}{
		{"all", map[string]any{"username": "u", "password": "p", "batch_bytes": "1MiB", "index": "logs-{stream}-{labels.team}"}, nil, ""},
		{"no urls", map[string]any{"urls": []string{}}, nil, "urls: one is needed"},
		{"url", map[string]any{"urls": []string{"localhost:9200"}}, nil, "urls[0]"},
		{"credentials in a url", map[string]any{"urls": []string{"https://u:hidden@h:1"}}, nil, "keys of their own"},
		{"tls over http", map[string]any{"tls": map[string]any{"server_name": "x"}}, nil, "write https"},
		{"no tls over https", map[string]any{"urls": []string{"https://h:1"}, "tls": map[string]any{"enabled": false}}, nil, "tls.enabled is false"},
		{"half of the credentials", map[string]any{"username": "u"}, nil, "go together"},
		{"two credentials", map[string]any{"username": "u", "password": "p", "api_key": "hidden"}, nil, "give either"},
		{"upper case", map[string]any{"index": "Logs"}, nil, "upper case"},
		{"character", map[string]any{"index": "a b"}, nil, "a character that"},
		{"begin", map[string]any{"index": "_logs"}, nil, "begins with"},
		{"length", map[string]any{"index": strings.Repeat("a", 256)}, nil, "256 bytes"},
		{"label", map[string]any{"index": "{labels.tenant}"}, nil, "no such label"},
		{"naming", map[string]any{"naming": "mine"}, nil, "isn't one of"},
		{"batch", map[string]any{"batch_bytes": 100}, nil, "less than"},
		{"key", map[string]any{"indx": "a"}, nil, "indx"},
		{"type", nil, month, "month_interval"},
		{"name", map[string]any{"naming": "columns"}, clash, "@timestamp"},
	} {
		c := config("http://127.0.0.1:1", tt.more)
		c.Labels = map[string]string{"team": "A Team"}
		if tt.as != nil {
			c.Streams[0].Schema = tt.as
		}
		err := Definition.Check(t.Context(), c)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Config || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if n, err := Definition.Buffer(config("http://127.0.0.1:1", nil)); err != nil || n < 10<<20 {
		t.Errorf("buffer %d, %v", n, err)
	}
}

// TestRefusals has servers that aren't as they should be.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, body, after string
		status            int
		kind              fault.Kind
		say               string
	}{
		{"unauthorized", "who", "", 401, fault.Auth, "401"},
		{"forbidden", "no", "", 403, fault.Auth, "403"},
		{"another server", "<html>", "", 200, fault.Config, "answers as neither does"},
		{"another JSON", "{}", "", 200, fault.Config, "not as OpenSearch"},
		{"not found", "nothing", "", 404, fault.Config, "not as OpenSearch"},
		{"forming", `{"cluster_uuid": "_na_", "version": {"number": "2.19.1"}}`, "", 200, fault.Transient, "being formed"},
		{"busy", "", "7", 503, fault.Transient, "503"},
		{"elsewhere", "", "", 302, fault.Config, "302"},
	} {
		var saw string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			saw = q.Header.Get("Authorization")
			if tt.after != "" {
				w.Header().Set("Retry-After", tt.after)
			}
			if tt.status == 302 {
				w.Header().Set("Location", "http://127.0.0.1:1/")
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		}))
		_, err := open(t.Context(), config(s.URL, map[string]any{"api_key": "hidden"}))
		s.Close()
		if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.say) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %s: %v, want %s and %q", tt.name, fault.KindOf(err), err, tt.kind, tt.say)
		}
		if saw != "ApiKey hidden" {
			t.Errorf("%s: Authorization %q", tt.name, saw)
		}
	}
}

// TestNamesInPaths has names with a character that a path has another meaning for.
func TestNamesInPaths(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, q.Method+" "+q.URL.Path)
		if q.Method == http.MethodGet && strings.HasPrefix(q.URL.Path, "/_data_stream/") || strings.HasSuffix(q.URL.Path, "online") {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, `{"cluster_uuid": "u", "version": {"number": "2.19.1"}}`)
	}))
	defer s.Close()
	k, err := open(t.Context(), config(s.URL, map[string]any{"index": "a50%b", "data_stream": true}))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.ensure(t.Context(), "a50%b"); err != nil {
		t.Error(err)
	}
	if said, err := k.client.tryIndex(t.Context(), "a50%b"); err != nil {
		t.Errorf("%q, %v", said, err)
	}
	want := []string{"GET /", "GET /_data_stream/a50%b", "PUT /_data_stream/a50%b", "GET /a50%b/_mapping", "POST /a50%b/_update/sluice-check-online"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRequestsAreApart: a request may be on its way still when its answer has come, so the next one has other memory.
func TestRequestsAreApart(t *testing.T) {
	for _, compression := range []string{"none", "gzip"} {
		b := newBulk(nil, settings{Compression: compression}, nil, "logs")
		b.body = []byte("first line, not a short one\nsecond\n")
		all, half := []item{{from: 0, to: 28}, {from: 28, to: len(b.body)}}, []item{{from: 28, to: len(b.body)}}
		one, err := b.request(all)
		if err != nil {
			t.Fatal(err)
		}
		was := bytes.Clone(one.body)
		if _, err := b.request(half); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.body, was) {
			t.Errorf("%s: the first request is %q now", compression, one.body)
		}
	}
}

// TestVerdicts pins what an item's error asks for.
func TestVerdicts(t *testing.T) {
	item := func(status int, kind, reason string) (r result) {
		r.Status, r.Error.Type, r.Error.Reason = status, kind, reason
		return r
	}
	for _, tt := range []struct {
		r    result
		want outcome
		kind fault.Kind
	}{
		{item(201, "", ""), delivered, 0},
		{item(409, "version_conflict_engine_exception", ""), delivered, 0},
		{item(400, "document_parsing_exception", "x"), refused, 0},
		{item(400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded"), refused, 0},
		{item(400, "illegal_argument_exception", "no write index is defined for alias [a]"), stop, fault.Config},
		{item(400, "index_closed_exception", "closed"), stop, fault.Config},
		{item(404, "index_not_found_exception", "x"), stop, fault.Config},
		{item(403, "security_exception", "x"), stop, fault.Auth},
		{item(403, "cluster_block_exception", "read-only"), later, fault.Transient},
		{item(429, "circuit_breaking_exception", "x"), later, fault.Transient},
		{item(503, "unavailable_shards_exception", "x"), later, fault.Transient},
		{item(413, "", ""), refused, 0},
	} {
		v := tt.r.verdict()
		if v.kind != tt.want || tt.kind != 0 && fault.KindOf(v.err) != tt.kind {
			t.Errorf("%s: %d, %v", tt.r, v.kind, v.err)
		}
	}
	if s := item(400, "x", strings.Repeat("ä", 2000)).String(); len(s) > maxReason+3 {
		t.Errorf("a reason of %d bytes", len(s))
	}
}

// TestBulkAnswers has answers to records that are no fault of theirs: none of them makes dead letters, or is tried for minutes.
func TestBulkAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		status     int
		say        string // in error and hint
	}{
		{"a login page", "<html>log in</html>", 200, "OpenSearch or Elasticsearch itself"},
		{"too large, whatever the size", "no", 413, "must be larger"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet {
				fmt.Fprint(w, `{"cluster_uuid": "u", "version": {"number": "2.19.1"}}`)
				return
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		}))
		k := mustOpen(t, config(s.URL, nil))
		slice := sinktest.Hours("one", 0, 1)
		_, err := sinktest.Write(t.Context(), k, slice, []string{"a", "b", "c"})
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error()+fault.HintOf(err), tt.say) {
			t.Errorf("%s: %v (%s), want an error of kind Config with %q", tt.name, err, fault.HintOf(err), tt.say)
		}
		_ = k.Close()
		s.Close()
	}
}
