package logentries

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestSettings(t *testing.T) {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(configSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", value); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	const owner = `"owner_key": "o", "owner_key_id": "i", "account_id": "a"`
	tests := []struct {
		name, json string
		schema     bool   // the schema accepts it
		want       string // in the error of Open; "": none
	}{
		{"smallest", `{"region": "eu", "api_key": "k"}`, true, ""},
		{"all", `{"region": "EU", "base_url": "https://eu.api.insight.rapid7.com/log_search", "api_key": " k ", ` + owner + `, "logs": ["web", "AEE00B66-a543-43dc-b093-53963c2e8f41"],
			"logsets": ["front"], "query": "where(a)", "to_bound": "inclusive", "account": "a", "budget": {"requests": 10, "window": "15m", "share": 0.5},
			"http": {"proxy": "http://u:p@proxy:3128", "timeout": "1m30s"}}`, true, ""},
		{"legacy", `{"region": "legacy", "api_key": "k", "logs": ["web"]}`, true, ""},
		{"no region", `{"api_key": "k"}`, false, "region: is missing"},
		{"region that is no label", `{"region": "eu.evil.example/", "api_key": "k"}`, false, "can't be part of a host name"},
		{"no key", `{"region": "eu"}`, false, "api_key: is empty"},
		{"key with a line break", `{"region": "eu", "api_key": "k\nx: y"}`, true, "api_key: holds a character"},
		{"owner key with a blank", `{"region": "eu", "api_key": "k", "owner_key": "hunter2 x", "owner_key_id": "i", "account_id": "a"}`, true, "owner_key: holds a character"},
		{"owner key alone", `{"region": "eu", "api_key": "k", "owner_key": "hunter2"}`, false, "go together"},
		{"account ID with a slash", `{"region": "eu", "api_key": "k", "owner_key": "o", "owner_key_id": "i", "account_id": "a/b"}`, false, "account_id: \"a/b\""},
		{"an empty log", `{"region": "eu", "api_key": "k", "logs": [" "]}`, true, "logs: holds an empty name"},
		{"unknown key", `{"region": "eu", "api_key": "k", "log": "x"}`, false, "unknown field"},
		{"calculation", `{"region": "eu", "api_key": "k", "query": "where(a) calculate(count)"}`, true, "query: calculate(...) is a calculation"},
		{"grouping", `{"region": "eu", "api_key": "k", "query": "GroupBy (b)"}`, true, "query: groupby(...) is a calculation"},
		{"the word in a literal", `{"region": "eu", "api_key": "k", "query": "where(/calculate(/)"}`, true, ""},
		{"wrong bound", `{"region": "eu", "api_key": "k", "to_bound": "open"}`, false, "to_bound"},
		{"ftp", `{"base_url": "ftp://x", "api_key": "k"}`, false, "scheme \"ftp\""},
		{"key in base_url", `{"base_url": "https://user:hunter2@x", "api_key": "k"}`, false, "holds a user or password"},
		{"wrong duration", `{"region": "eu", "api_key": "k", "http": {"timeout": "soon"}}`, false, "no duration"},
		{"endless query", `{"region": "eu", "api_key": "k", "query": "where(` + strings.Repeat("x", 70000) + `)"}`, true, "query: is longer than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(tt.json))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); (err == nil) != tt.schema {
				t.Errorf("schema: %v, want it to accept: %v", err, tt.schema)
			}
			_, err = Definition().Open(t.Context(), plugins.Config{Settings: json.RawMessage(tt.json)})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("open: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("open: %v, want %q", err, tt.want)
			case err != nil && fault.KindOf(err) != fault.Config:
				t.Errorf("kind = %v", fault.KindOf(err))
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestMarkedKeys(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Secret    bool `json:"x-sluice-secret"`
			Selection bool `json:"x-sluice-selection"`
		}
	}
	if err := json.Unmarshal([]byte(configSchema), &schema); err != nil {
		t.Fatal(err)
	}
	for key, p := range schema.Properties {
		if want := key == "api_key" || key == "owner_key"; p.Secret != want {
			t.Errorf("%s: secret %v", key, p.Secret)
		}
		if want := key == "query" || key == "account"; p.Selection != want {
			t.Errorf("%s: selection %v", key, p.Selection)
		}
	}
}

func TestDefinition(t *testing.T) {
	if err := Definition().Validate(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range eventSchema().Fields() {
		names = append(names, f.Name+" "+f.Type.String())
	}
	want := []string{
		"timestamp timestamp[ns, tz=UTC]", "observed_timestamp timestamp[ns, tz=UTC]", "received_from timestamp[ns, tz=UTC]",
		"received_to timestamp[ns, tz=UTC]", "severity_text utf8", "severity_number int32", "body utf8", "source utf8", "log_id utf8",
		"log_name utf8", "attributes map<utf8, utf8, items_nullable>", "body_raw binary", "sequence_number uint64",
		"labels list<item: utf8, nullable>",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestFollow(t *testing.T) {
	tests := []struct{ base, href, origin, path, text string }{
		{"https://us.rest.logs.insight.rapid7.com", "https://us.rest.logs.insight.rapid7.com/query/a:1:?x=%2B#f", "https://us.rest.logs.insight.rapid7.com", "/query/a:1:?x=%2B", ""},
		{"https://us.rest.logs.insight.rapid7.com", "HTTPS://US.api.insight.rapid7.com:443/log_search/query/%2B:", "https://us.api.insight.rapid7.com", "/log_search/query/%2B:", ""},
		{"https://us.rest.logs.insight.rapid7.com", "https://rest.logentries.com/query/1", "https://rest.logentries.com", "/query/1", ""},
		{"https://us.rest.logs.insight.rapid7.com", "/query/1", "https://us.rest.logs.insight.rapid7.com", "/query/1", ""},
		{"https://us.rest.logs.insight.rapid7.com", "//us.api.insight.rapid7.com/query/1", "https://us.api.insight.rapid7.com", "/query/1", ""},
		{"https://proxy.example:8443/x", "https://proxy.example:8443/x/query/1", "https://proxy.example:8443", "/x/query/1", ""},
		{"http://127.0.0.1:80", "http://127.0.0.1/query/1", "http://127.0.0.1", "/query/1", ""},
		{"https://us.rest.logs.insight.rapid7.com", "http://us.rest.logs.insight.rapid7.com/query/1", "", "", "leads to http://us"},
		{"https://us.rest.logs.insight.rapid7.com", "https://us.rest.logs.insight.rapid7.com:8443/query/1", "", "", "leads to"},
		{"https://us.rest.logs.insight.rapid7.com", "https://us.rest.logs.insight.rapid7.com.evil.example/query/1", "", "", "leads to"},
		{"https://us.rest.logs.insight.rapid7.com", "https://evil.example/us.rest.logs.insight.rapid7.com", "", "", "leads to https://evil.example"},
		{"https://us.rest.logs.insight.rapid7.com", "https://u:p@us.rest.logs.insight.rapid7.com/query/1", "", "", "leads to"},
		{"https://us.rest.logs.insight.rapid7.com", "https://us.rest.logs.insight.rapid7.com@evil.example/query/1", "", "", "leads to https://evil.example"},
		{"https://us.rest.logs.insight.rapid7.com", "https://xrest.logentries.com/query/1", "", "", "leads to"},
		{"https://us.rest.logs.insight.rapid7.com", "https://s3.amazonaws.com/export", "", "", "leads to"},
		{"https://us.rest.logs.insight.rapid7.com", "javascript:alert(1)", "", "", "no URL"},
		{"https://us.rest.logs.insight.rapid7.com", "https://us.rest.logs.insight.rapid7.com", "", "", "no URL"},
		{"https://us.rest.logs.insight.rapid7.com", "query/1", "", "", "no URL"},
		{"https://us.rest.logs.insight.rapid7.com", "https://%zz/", "", "", "can't be read"},
	}
	for _, tt := range tests {
		base, err := rest.ParseBaseURL(tt.base, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := follow(tt.href, base)
		if got != (target{tt.origin, tt.path}) || (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %+v, %v", tt.href, got, err)
		}
		if err == nil {
			if u, err := url.Parse(got.origin + got.path); err != nil || u.RequestURI() != got.path {
				t.Errorf("%s: the path changes on its way: %v, %v", tt.href, u, err)
			}
		}
	}
}

func TestPlan(t *testing.T) {
	s := newSource(t, nil, map[string]any{"region": "eu", "api_key": "k"})
	gap := flow.Gap{
		Partition: flow.Partition{Stream: streamEvents, Key: simLogs[0]}, From: firstDay, To: firstDay.AddDate(0, 0, 2),
		// A window of the vendor's limit holds 675,000 events; slices should hold 70 % of that.
		Hints: []flow.Hint{{From: firstDay.Add(-time.Hour), To: firstDay, Rows: 944_000, Bytes: 1000}},
	}
	got, err := s.Plan(t.Context(), gap)
	if err != nil || len(got) == 0 || got[0].To.Sub(got[0].From) != 30*time.Minute {
		t.Errorf("plan %v, %v", got, err)
	}
	gap.Hints = nil
	if got, err := s.Plan(t.Context(), gap); err != nil || len(got) != 2 {
		t.Errorf("plan without hints %v, %v", got, err)
	}
	gap.Partition = flow.Partition{Stream: streamUsers}
	gap.To = firstDay.Add(time.Millisecond)
	if got, err := s.Plan(t.Context(), gap); err != nil || len(got) != 1 || !got[0].To.Equal(gap.To) {
		t.Errorf("plan of a snapshot %v, %v", got, err)
	}
}
