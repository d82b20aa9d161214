package elsa

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

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
	const keys, one = `"access_key": "a", "secret_key": "hunter2"`, `"project_key": "P_test", "project_id": 8171`
	tests := []struct {
		name, json string
		schema     bool   // the schema accepts it
		want       string // in the error of Open; "" for none
	}{
		{"least", `{` + keys + `, ` + one + `}`, true, ""},
		{"several projects", `{` + keys + `, "projects": [{"key": "a", "id": 1}, {"key": "b", "id": 2}]}`, true, ""},
		{"everything", `{` + keys + `, ` + one + `, "format": "CSV", "limit": 1, "count": 1, "include_fields": ["body"], "to_bound": "inclusive", "account": "x",
			"base_url": "https://elsa.apigw.gov-ntruss.com", "budget": {"requests": 10, "window": "1m"}, "http": {"timeout": "1m30s"}}`, true, ""},
		{"no keys", `{` + one + `}`, false, "access_key: is empty"},
		{"no project", `{` + keys + `}`, false, "project_key: is empty"},
		{"no ID", `{` + keys + `, "project_key": "P"}`, false, "project_id: 0 is no project's ID"},
		{"both forms", `{` + keys + `, ` + one + `, "projects": [{"key": "a", "id": 1}]}`, false, "projects: stands beside"},
		{"one project, two IDs", `{` + keys + `, "projects": [{"key": "a", "id": 1}, {"key": "a", "id": 2}]}`, true, "projects[1].key: \"a\" has two IDs"},
		{"long key", `{` + keys + `, "project_key": "` + strings.Repeat("p", 54) + `", "project_id": 1}`, false, "at most 53"},
		{"secret with a line break", `{"access_key": "a", "secret_key": "hunter2\nx", ` + one + `}`, true, "secret_key: holds a character"},
		{"limit 1001", `{` + keys + `, ` + one + `, "limit": 1001}`, false, "limit: 1001 isn't between 1 and 1000"},
		{"count 0", `{` + keys + `, ` + one + `, "count": 0}`, false, "count: 0 isn't between 1 and 200000"},
		{"count 200001", `{` + keys + `, ` + one + `, "count": 200001}`, false, "count: 200001"},
		{"format in lower case", `{` + keys + `, ` + one + `, "format": "json"}`, false, "format: \"json\""},
		{"curly quotes", `{` + keys + `, ` + one + `, "include_fields": ["“body”"]}`, true, "quotation mark"},
		{"blank field", `{` + keys + `, ` + one + `, "include_fields": [" "]}`, true, "include_fields[0]: is empty"},
		{"fields in one text", `{` + keys + `, ` + one + `, "include_fields": ["body, host"]}`, true, "holds a comma"},
		{"unknown key", `{` + keys + `, ` + one + `, "query": "x"}`, false, "unknown field"},
		{"wrong bound", `{` + keys + `, ` + one + `, "to_bound": "open"}`, false, "to_bound"},
		{"ftp", `{` + keys + `, ` + one + `, "base_url": "ftp://x"}`, false, "scheme \"ftp\""},
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
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}

func TestDefinitionAndMarkedKeys(t *testing.T) {
	if err := Definition().Validate(); err != nil {
		t.Error(err)
	}
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
		if want := key == "secret_key"; p.Secret != want {
			t.Errorf("%s: secret %v", key, p.Secret)
		}
		if want := key == "include_fields" || key == "account"; p.Selection != want {
			t.Errorf("%s: selection %v", key, p.Selection)
		}
	}
}

func TestNamesAreTrimmedAndSentOnce(t *testing.T) {
	s, err := parseSettings([]byte(`{"access_key": " a\n", "secret_key": "b ", "projects": [{"key": " P ", "id": 1}, {"key": "P", "id": 1}],
		"include_fields": ["logSource", " logType", "logType"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]project{{"P", 1}}, s.Projects); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"logSource", "logType", "logTime"}, s.wanted()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"P", "logType"}, s.doubled); diff != "" || s.AccessKey != "a" || s.SecretKey != "b" {
		t.Errorf("%q %q %s", s.AccessKey, s.SecretKey, diff)
	}
}
