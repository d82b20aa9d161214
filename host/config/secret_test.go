package config

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestSecretIsHidden(t *testing.T) {
	s := NewSecret("hunter2")
	type holder struct {
		S Secret
		P *Secret
		L Secrets
	}
	h := holder{S: s, P: &s, L: Secrets{s}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s", "%x", "%d", "%10v", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, &s, Secrets{s})
		fmt.Fprintf(&out, verb+"\n", h)
	}
	data, err := json.Marshal(map[string]any{"a": h, "b": s, "c": map[Secret]int{s: 1}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(data)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("x", "s", s, "p", &s, "h", h, "l", h.L)
	}
	fmt.Fprint(&out, s, errors.New(s.String()), fmt.Errorf("x: %v", s))
	if got := out.String(); strings.Contains(got, "hunter2") || strings.Contains(got, hex.EncodeToString([]byte("hunter2"))) || !strings.Contains(got, "***") {
		t.Errorf("got %s", got)
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal gives another value")
	}
}

func TestSettingsPrintNothing(t *testing.T) {
	c := parseSource(t, "api_key: hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, c); strings.Contains(got, "hunter2") {
			t.Errorf("%s: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, c.Pipelines[0].Source); strings.Contains(got, "hunter2") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// parseSource parses a file with some settings of a source; region and logs are there already.
func parseSource(t *testing.T, settings string) *Config {
	t.Helper()
	file := "pipelines:\n- name: a\n  range: {last: 1d}\n  sinks: [{type: stdout}]\n  source:\n    type: rapid7-download\n    config:\n" +
		"      logs: [aee00b66-a543-43dc-b093-53963c2e8f41]\n"
	if !strings.Contains(settings, "region:") {
		settings = "region: eu\n" + settings
	}
	if !strings.Contains(settings, "api_key:") {
		settings = "api_key: key1\n" + settings
	}
	for line := range strings.SplitSeq(settings, "\n") {
		file += "      " + line + "\n"
	}
	c, err := Parse(filepath.Join(t.TempDir(), "r.yaml"), []byte(file), testRegistry(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResolve(t *testing.T) {
	env := map[string]string{
		"KEY": "hunter2", "EMPTY": "", "REGION": "ap", "TRAP": "${env:KEY} $${env:KEY}", "BAD": "mars", "QUOTE": "a\"b\\c\n<&>", "PROXY": "http://u:hunter3@p:1",
	}
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key", "\n hunter4\r\n")
	blank := write("blank", " \n")
	large := write("large", strings.Repeat("x", maxSecretFile+1))
	for _, tt := range []struct {
		name, settings string
		want           map[string]any // some of the settings
		secrets        []string
		fail           string // a part of the error
	}{
		{name: "literal", settings: "api_key: k123", want: map[string]any{"api_key": "k123"}, secrets: []string{"k123"}},
		{name: "variable", settings: "api_key: ${env:KEY}", want: map[string]any{"api_key": "hunter2"}, secrets: []string{"hunter2"}},
		{name: "inside of text", settings: "api_key: a-${env:KEY}-${env:KEY}", want: map[string]any{"api_key": "a-hunter2-hunter2"}, secrets: []string{"a-hunter2-hunter2"}},
		{name: "not a secret", settings: "region: ${env:REGION}", want: map[string]any{"region": "ap"}, secrets: []string{"key1"}},
		{name: "default", settings: "account: ${env:NONE:-main}", want: map[string]any{"account": "main"}, secrets: []string{"key1"}},
		{name: "default of an empty one", settings: "account: ${env:EMPTY:-main}", want: map[string]any{"account": "main"}, secrets: []string{"key1"}},
		{name: "default not used", settings: "api_key: ${env:KEY:-x:-y}", want: map[string]any{"api_key": "hunter2"}, secrets: []string{"hunter2"}},
		{name: "value is not looked at again", settings: "query: ${env:TRAP}", want: map[string]any{"query": "${env:KEY} $${env:KEY}"}, secrets: []string{"key1"}},
		{name: "escape", settings: "query: $${env:KEY} $$ $x /a$/", want: map[string]any{"query": "${env:KEY} $$ $x /a$/"}, secrets: []string{"key1"}},
		{name: "quoting", settings: "query: ${env:QUOTE}", want: map[string]any{"query": "a\"b\\c\n<&>"}, secrets: []string{"key1"}},
		{name: "file", settings: "api_key: ${file:" + key + "}", want: map[string]any{"api_key": "hunter4"}, secrets: []string{"hunter4"}},
		{name: "file in another key", settings: "query: x ${file:" + key + "}", want: map[string]any{"query": "x hunter4"}, secrets: []string{"key1", "hunter4"}},
		{name: "password in a URL", settings: "http: {proxy: \"${env:PROXY}\"}", secrets: []string{"key1", "hunter3"}},
		{name: "not set", settings: "api_key: ${env:NONE}", fail: "api_key: environment variable NONE is not set; set it where sluice is started"},
		{name: "empty", settings: "api_key: ${env:EMPTY}", fail: "api_key: environment variable EMPTY is empty"},
		{name: "empty default", settings: "api_key: ${env:NONE:-}", fail: "api_key: the secret is empty"},
		{name: "no file", settings: "api_key: ${file:/nowhere/key}", fail: "api_key: secret file: open /nowhere/key: no such file or directory; make it, or correct the path"},
		{name: "blank file", settings: "api_key: ${file:" + blank + "}", fail: "is empty; put the secret into it"},
		{name: "large file", settings: "api_key: ${file:" + large + "}", fail: "is larger than 64KiB"},
		{name: "not by the schema", settings: "region: ${env:BAD}", fail: "region: the value is not one of those allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parseSource(t, tt.settings)
			raw, secrets, err := c.Pipelines[0].Source.Config.Resolve(Environment{LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) || fault.KindOf(err) != fault.Config {
					t.Fatalf("got %v (%v), want %q", err, fault.KindOf(err), tt.fail)
				}
				if !strings.Contains(err.Error(), "r.yaml:") || strings.Contains(err.Error(), "mars") || strings.Contains(err.Error(), "hunter") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			for k, want := range tt.want {
				if got[k] != want {
					t.Errorf("%s: got %q, want %q", k, got[k], want)
				}
			}
			var values []string
			for _, s := range secrets {
				values = append(values, s.Reveal())
			}
			less := func(a, b string) int { return strings.Compare(a, b) }
			if diff := cmp.Diff(sortedCopy(tt.secrets, less), sortedCopy(values, less)); diff != "" {
				t.Errorf("secrets (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("files are read again", func(t *testing.T) {
		settings := parseSource(t, "api_key: ${file:"+key+"}").Pipelines[0].Source.Config
		for _, want := range []string{"first1", "second2"} {
			write("key", want)
			raw, _, err := settings.Resolve(Environment{})
			if err != nil || !strings.Contains(string(raw), want) {
				t.Errorf("got %v, want %s in it", err, want)
			}
		}
	})
	t.Run("relative to the file", func(t *testing.T) {
		c := parseSource(t, "api_key: ${file:sub/key}")
		_, _, err := c.Pipelines[0].Source.Config.Resolve(Environment{ReadFile: func(path string) ([]byte, error) {
			if path != filepath.Join(c.Dir, "sub/key") {
				t.Errorf("got %s", path)
			}
			return []byte("k"), nil
		}})
		if err != nil {
			t.Error(err)
		}
	})
	if _, _, err := (Settings{}).Resolve(Environment{}); err == nil {
		t.Error("zero settings resolve")
	}
}

func sortedCopy(in []string, less func(a, b string) int) []string {
	out := append([]string{}, in...)
	for i := range out {
		for j := i; j > 0 && less(out[j], out[j-1]) < 0; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

func TestSelectionSettings(t *testing.T) {
	schema := testRegistry(t).Sources["rapid7-download"].Schema
	got, err := SelectionSettings(schema, json.RawMessage(`{"region": "eu", "api_key": "k", "logs": [], "query": " where(x) ", "limit": 5}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]json.RawMessage{"region": json.RawMessage(`"eu"`), "query": json.RawMessage(`" where(x) "`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := flow.NewSelectionID("rapid7-download", got); err != nil {
		t.Error(err)
	}
	nested := []byte(`{"properties": {"filter": {"$ref": "#/$defs/f"}, "fields": {"x-sluice-selection": true}},
		"$defs": {"f": {"properties": {"query": {"x-sluice-selection": true}, "cap": {}}}}}`)
	got, err = SelectionSettings(nested, json.RawMessage(`{"filter": {"query": "a", "cap": 1}, "fields": {"b": [1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]json.RawMessage{"filter.query": json.RawMessage(`"a"`), "fields": json.RawMessage(`{"b": [1]}`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{``, `[]`, `{"a": `} {
		if _, err := SelectionSettings(schema, json.RawMessage(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestRedactor(t *testing.T) {
	const secret = `p+/a s"s<w>örd=&\key`
	var r Redactor
	if got := r.Redact(secret); got != secret {
		t.Errorf("a redactor that knows nothing changes text: %s", got)
	}
	r.Add(Secrets{NewSecret(secret), NewSecret("hunter2hunter2"), NewSecret("hunter2"), NewSecret("abc"), NewSecret("")})
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	basic := []string{}
	for _, user := range []string{"", "u", "us", "use", "user"} {
		basic = append(basic, base64.StdEncoding.EncodeToString([]byte(user+":"+secret+"\n")), base64.URLEncoding.EncodeToString([]byte(user+":"+secret)))
	}
	for _, text := range append(basic,
		secret, url.QueryEscape(secret), url.PathEscape(secret), "https://x/?k="+url.QueryEscape(secret)+"&a=b",
		(&url.URL{Path: "/" + secret}).String(), url.UserPassword("", secret).String(), string(quoted), fmt.Sprintf("%q", secret), hex.EncodeToString([]byte(secret)),
		fmt.Sprintf("%X", secret), "hunter2", "xhunter2hunter2x",
	) {
		got := r.Redact("a " + text + " b")
		if !strings.Contains(got, "***") || strings.Contains(got, "hunter") {
			t.Errorf("%q: got %q", text, got)
		}
		// What is left of a long base64 text must be too short to hold the secret's middle.
		if left := strings.ReplaceAll(got, "***", ""); len(left) > len("a  b")+len("https://x/?k=&a=b") {
			t.Errorf("%q: %q is left", text, left)
		}
	}
	if got := r.Redact("abc and words"); got != "abc and words" {
		t.Errorf("a short secret is looked for: %q", got)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: r.ReplaceAttr}))
	log.With("a", "hunter2").WithGroup("g").Info("msg hunter2", "err", errors.New("x hunter2"), "raw", json.RawMessage(`"hunter2"`),
		"bytes", []byte("hunter2"), "list", []string{"hunter2"}, "hunter2", 5, slog.Group("in", "k", "hunter2"), "n", 5)
	if got := out.String(); strings.Contains(got, "hunter2") || strings.Contains(got, base64.StdEncoding.EncodeToString([]byte("hunter2"))) || !strings.Contains(got, `"n":5`) {
		t.Errorf("got %s", got)
	}
}

func TestRedactorIsConcurrent(t *testing.T) {
	var r Redactor
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			r.Add(Secrets{NewSecret(fmt.Sprintf("secret-%04d", i))})
		}
	}()
	for range 50 {
		r.Redact("some text")
	}
	<-done
	if got := r.Redact("secret-0049"); got != "***" {
		t.Errorf("got %s", got)
	}
}
