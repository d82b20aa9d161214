package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestDocumentIsCurrent(t *testing.T) {
	const path = "../../docs/config.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	for _, block := range []struct{ name, text string }{{"keys", Table()}, {"later", LaterTable()}} {
		begin, end := "<!-- "+block.name+": begin -->\n", "<!-- "+block.name+": end -->"
		i, j := strings.Index(got, begin), strings.Index(got, end)
		if i < 0 || j < i {
			t.Fatalf("%s lacks %q ... %q", path, begin, end)
		}
		got = got[:i+len(begin)] + block.text + got[j:]
	}
	golden(t, path, got)
}

// TestDocumentExample shows that the file in the docs is one that Load accepts, without warnings.
func TestDocumentExample(t *testing.T) {
	data, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	c, err := Parse("example.yaml", []byte(example), testRegistry(t))
	if err != nil || len(c.Warnings) > 0 {
		t.Errorf("got %v, %v", err, c)
	}
}

func TestSettingsTable(t *testing.T) {
	got, err := SettingsTable(testRegistry(t).Sources["rapid7-download"].Schema)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/settings-table.md", got)
}

// TestKeys holds the table of keys itself: every default is a value that its key takes, and nothing lacks words.
func TestKeys(t *testing.T) {
	var walk func(keys []key, path string)
	walk = func(keys []key, path string) {
		seen := map[string]bool{}
		for i := range keys {
			k := &keys[i]
			at := joinPath(path, k.name)
			if seen[k.name] {
				t.Errorf("%s is there twice", at)
			}
			seen[k.name] = true
			if k.later != "" {
				continue
			}
			if k.doc == "" || k.takes() == "" || k.expects() == "" {
				t.Errorf("%s lacks words", at)
			}
			if k.def != "" {
				d := &decoder{}
				n := &node{kind: text, text: strings.Trim(k.def, `"`)}
				if k.typ == aCount {
					n.kind = integer
				}
				if _, ok := d.value(k, n, at); !ok {
					t.Errorf("default of %s: %v", at, d.problems)
				}
			}
			if (k.typ == aSize || k.typ == aDuration || k.typ == aCount) && k.max <= k.min {
				t.Errorf("%s has no bounds", at)
			}
			walk(k.keys, at)
		}
	}
	walk(fileKeys(), "")
}

func compileFileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := Schema(testRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	// As an editor would read it: a plain compiler, without our formats.
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sluice:file", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("sluice:file")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// plainJSON turns a file into JSON as an editor sees it.
func plainJSON(t *testing.T, data []byte) any {
	t.Helper()
	tree, problems := parseTree("x.yaml", data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c := &checker{decoder: &decoder{}, schema: &settingsSchema{root: map[string]any{}}, omitted: map[string]bool{}, positions: map[string]Position{}}
	var out bytes.Buffer
	c.write(&out, tree, nil, "")
	v, err := jsonschema.UnmarshalJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchema(t *testing.T) {
	schema := compileFileSchema(t)
	good, err := os.ReadFile("testdata/good/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"example": good, "init": InitFile(Init{From: time.Unix(1793491200, 0)})} {
		if err := schema.Validate(plainJSON(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tt := range []struct{ name, old, bad string }{
		{"unknown key", "lag: 5m", "lagg: 5m"},
		{"unknown source", "type: rapid7-download", "type: rapid7"},
		{"unknown sink", "type: file\n", "type: fil\n"},
		{"unknown setting", "limit: 20_000_000", "limits: 20_000_000"},
		{"setting's value", "region: eu", "region: eu1"},
		{"setting's unit", "bytes: 70GB", "bytes: 70GX"},
		{"sink's setting", "compression: zstd", "compression: zst"},
		{"missing setting", "        region: eu\n", ""},
		{"missing key", "    range: {from: 2026-11-01}\n", ""},
		{"size", "window: 64MiB", "window: 64QB"},
		{"duration", "max_backoff: 2m", "max_backoff: 2 minutes"},
		{"time", "{from: 2026-11-01}", "{from: yesterday}"},
		{"choice", "on_failure: block", "on_failure: forget"},
		{"later", "    lag: 5m\n", "    transforms: []\n"},
		{"follow", "    lag: 5m\n", "    follow: {every: 10 minutes}\n"},
		{"stream", "streams: [events]", "streams: [event]"},
		{"name", "name: prod", "name: Prod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(string(good), tt.old, tt.bad, 1)
			if changed == string(good) {
				t.Fatalf("the example has no %q", tt.old)
			}
			if schema.Validate(plainJSON(t, []byte(changed))) == nil {
				t.Error("the schema accepts it")
			}
			if _, err := Parse("x.yaml", []byte(changed), testRegistry(t)); err == nil {
				t.Error("Parse accepts it")
			}
		})
	}
}

func TestSchemaIsStable(t *testing.T) {
	first, err := Schema(testRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		again, err := Schema(testRegistry(t))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(again)); diff != "" {
			t.Fatal(diff)
		}
	}
	if !json.Valid(first) {
		t.Error("not JSON")
	}
}

func TestInitFile(t *testing.T) {
	from := time.Date(2026, 11, 1, 15, 0, 0, 0, time.UTC)
	for name, in := range map[string]Init{
		"default": {From: from},
		"full": {
			Pipeline: "prod", Region: "us2", Logs: []string{"aee00b66-a543-43dc-b093-53963c2e8f41", "bee00b66-a543-43dc-b093-53963c2e8f41"},
			From: from, Path: `./my "lake": a`, Format: "raw", BaseURL: "http://127.0.0.1:8080",
		},
		"named": {
			Logs: []string{
				"aee00b66-a543-43dc-b093-53963c2e8f41", "bee00b66-a543-43dc-b093-53963c2e8f41",
				"cee00b66-a543-43dc-b093-53963c2e8f41", "dee00b66-a543-43dc-b093-53963c2e8f41",
			},
			From: from,
			Names: map[string]string{
				"aee00b66-a543-43dc-b093-53963c2e8f41": "web",
				"bee00b66-a543-43dc-b093-53963c2e8f41": "a\nb\r\x1b[1m\u0085c\u2028d\ufeff ${env:NOSUCH} \xff é: {",
				"dee00b66-a543-43dc-b093-53963c2e8f41": strings.Repeat("long ", 40),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := InitFile(in)
			golden(t, "testdata/init-"+name+".yaml", string(data))
			c, err := Parse("sluice.yaml", data, testRegistry(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) > 0 {
				t.Error(Problems(c.Warnings))
			}
			p := c.Pipelines[0]
			if p.Range.To != nil || !p.Range.From.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("got range %+v", p.Range)
			}
			// Each comment that is a key must be one that works, too.
			var problems Problems
			uncommented := strings.NewReplacer("        # query:", "        query:", "      # to:", "      to:", "    # lag:", "    lag:",
				"    # flow:", "    flow:", "    # retry:", "    retry:", "    # dead_letter:", "    dead_letter:").Replace(string(data))
			if _, err := Parse("sluice.yaml", []byte(uncommented), testRegistry(t)); errors.As(err, &problems) || err != nil {
				t.Errorf("uncommented: %v", err)
			}
			if strings.Count(uncommented, "#") != strings.Count(string(data), "#")-6 {
				t.Error("a commented key has another place now")
			}
		})
	}
}
