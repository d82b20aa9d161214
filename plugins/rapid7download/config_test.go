package rapid7download

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const someLog = "aee00b66-a543-43dc-b093-53963c2e8f41"

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(configSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSettings(t *testing.T) {
	schema := compileSchema(t)
	const logs = `"logs": ["` + someLog + `"]`
	// of a URL beside its query
	const longestElse = len("http://vendor.example/download/logs/" + someLog + "?from=1793491200000&limit=20000000&query=&to=1793491200000")
	tests := []struct {
		name, json string
		schema     bool   // the schema accepts it
		want       string // in the error of Open; "" for none
	}{
		{"least", `{"region": "eu", "api_key": "k", ` + logs + `}`, true, ""},
		{"upper case region", `{"region": "US2", "api_key": "k", ` + logs + `}`, true, ""},
		{"unknown region", `{"region": "me1", "api_key": "k", ` + logs + `}`, true, ""},
		{"legacy", `{"region": "legacy", "api_key": "k", ` + logs + `}`, true, ""},
		{"base_url", `{"base_url": "https://us.api.insight.rapid7.com/log_search", "api_key": "k", ` + logs + `}`, true, ""},
		{"everything", `{"region": "eu", "api_key": "k", ` + logs + `, "query": " where(/x/) ", "limit": 1000, "gzip": true, "to_bound": "inclusive", "account": "a",
			"budget": {"requests": 10, "bytes": "75GB", "window": "15m", "share": 0.5}, "http": {"proxy": "http://u:p@proxy:3128", "timeout": "1m30s"}}`, true, ""},
		{"bytes as a number", `{"region": "eu", "api_key": "k", ` + logs + `, "budget": {"bytes": 1000}}`, true, ""},
		{"no region", `{"api_key": "k", ` + logs + `}`, false, "region: is missing"},
		{"region that is no label", `{"region": "eu.evil.example/", "api_key": "k", ` + logs + `}`, false, "can't be part of a host name"},
		{"no key", `{"region": "eu", ` + logs + `}`, false, "api_key: is empty"},
		{"key with a line break", `{"region": "eu", "api_key": "k\nx: y", ` + logs + `}`, true, "api_key: holds a character"},
		{"no logs", `{"region": "eu", "api_key": "k"}`, false, "logs: is empty"},
		{"log name instead of ID", `{"region": "eu", "api_key": "k", "logs": ["web"]}`, false, "logs[0]: \"web\" is not a log ID"},
		{"unknown key", `{"region": "eu", "api_key": "k", ` + logs + `, "tmie": "auto"}`, false, "unknown field"},
		{"calculation", `{"region": "eu", "api_key": "k", ` + logs + `, "query": "where(a) calculate(count)"}`, true, "query: calculate(...) is a calculation"},
		{"limit 0", `{"region": "eu", "api_key": "k", ` + logs + `, "limit": 0}`, false, "limit: 0 isn't between"},
		{"wrong bound", `{"region": "eu", "api_key": "k", ` + logs + `, "to_bound": "open"}`, false, "to_bound"},
		{"a time without its zone", `{"region": "eu", "api_key": "k", ` + logs + `, "time": {"regex": "x", "layout": "%Y-%m-%d"}}`, true, "time.zone: is missing"},
		{"a time of another kind", `{"region": "eu", "api_key": "k", ` + logs + `, "time": "always"}`, false, "want none, auto"},
		{"ftp", `{"base_url": "ftp://x", "api_key": "k", ` + logs + `}`, false, "scheme \"ftp\""},
		{"key in base_url", `{"base_url": "https://user:hunter2@x", "api_key": "k", ` + logs + `}`, false, "holds a user or password"},
		{"share above 1", `{"region": "eu", "api_key": "k", ` + logs + `, "budget": {"share": 2}}`, false, "budget.share"},
		{"wrong size", `{"region": "eu", "api_key": "k", ` + logs + `, "budget": {"bytes": "75 furlongs"}}`, false, "no size"},
		{"wrong duration", `{"region": "eu", "api_key": "k", ` + logs + `, "http": {"timeout": "soon"}}`, false, "no duration"},
		{"socks4", `{"region": "eu", "api_key": "k", ` + logs + `, "http": {"proxy": "socks4://x"}}`, true, "socks4"},
		{"missing CA file", `{"region": "eu", "api_key": "k", ` + logs + `, "http": {"ca_file": "/does/not/exist.pem"}}`, true, "http.ca_file"},
		{"endless query", `{"region": "eu", "api_key": "k", ` + logs + `, "query": "where(` + strings.Repeat("x", 9000) + `)"}`, true, "query: is too long"},
		{"blanks count for three characters", `{"region": "eu", "api_key": "k", ` + logs + `, "query": "where(` + strings.Repeat("a OR ", 900) + `a)"}`, true, "would have 8260 characters"},
		{"as long as a URL may be", `{"base_url": "http://vendor.example", "api_key": "k", ` + logs + `, "query": "` + strings.Repeat("x", rapid7.MaxURL-longestElse) + `"}`, true, ""},
		{"one character more", `{"base_url": "http://vendor.example", "api_key": "k", ` + logs + `, "query": "` + strings.Repeat("x", rapid7.MaxURL-longestElse+1) + `"}`, true, "would have 8193 characters"},
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
				t.Errorf("a password is in %v", err)
			}
		})
	}
}

func TestMarkedKeys(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Secret     bool `json:"x-sluice-secret"`
			Selection  bool `json:"x-sluice-selection"`
			Properties map[string]struct {
				Secret bool `json:"x-sluice-secret"`
			}
		}
	}
	if err := json.Unmarshal([]byte(configSchema), &schema); err != nil {
		t.Fatal(err)
	}
	for key, p := range schema.Properties {
		if want := key == "api_key"; p.Secret != want {
			t.Errorf("%s: secret %v", key, p.Secret)
		}
		if want := key == "query" || key == "account"; p.Selection != want {
			t.Errorf("%s: selection %v", key, p.Selection)
		}
	}
	if !schema.Properties["http"].Properties["proxy"].Secret {
		t.Error("http.proxy may hold a password and isn't marked")
	}
}

func TestPlan(t *testing.T) {
	base := map[string]any{"region": "eu", "api_key": "k", "logs": []string{someLog}}
	hint := func(rows, bytes uint64) flow.Hint {
		return flow.Hint{From: firstDay, To: firstDay.Add(time.Hour), Rows: rows, Bytes: bytes}
	}
	tests := []struct {
		name   string
		target plugins.SliceTarget
		hints  []flow.Hint
		first  time.Duration
	}{
		{"without hints what is left of the day", plugins.SliceTarget{}, nil, 23 * time.Hour},
		{"one hour", plugins.SliceTarget{Duration: time.Hour}, nil, time.Hour},
		{"sparse hints", plugins.SliceTarget{}, []flow.Hint{hint(10, 1000)}, 23 * time.Hour},
		{"by the budget's bytes per request", plugins.SliceTarget{}, []flow.Hint{hint(10, 1_000_000_000)}, 30 * time.Minute},
		{"by rows", plugins.SliceTarget{}, []flow.Hint{hint(14_000_000, 100)}, time.Hour},
		{"by size", plugins.SliceTarget{Bytes: 250_000_000}, []flow.Hint{hint(1, 500_000_000)}, 30 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(t, nil, base)
			s.target = tt.target
			gap := flow.Gap{
				Partition: flow.Partition{Stream: streamEvents, Key: someLog},
				From:      firstDay.Add(time.Hour), To: firstDay.AddDate(0, 0, 2).Add(time.Hour), Hints: tt.hints,
			}
			at := gap.From
			for first := true; at.Before(gap.To); first = false {
				rest := gap
				rest.From = at
				got, err := s.Plan(t.Context(), rest)
				if err != nil || len(got) == 0 {
					t.Fatalf("plan from %v: %v, %v", at, got, err)
				}
				if d := got[0].To.Sub(at); first && d != tt.first {
					t.Errorf("the first lasts %v, want %v", d, tt.first)
				}
				for _, slice := range got {
					if err := slice.Validate(); err != nil || !slice.From.Equal(at) || slice.Partition != gap.Partition {
						t.Fatalf("slice %v after %v: %v", slice, at, err)
					}
					at = slice.To
				}
			}
			if !at.Equal(gap.To) {
				t.Errorf("the plan ends at %v, want %v", at, gap.To)
			}
		})
	}
}
