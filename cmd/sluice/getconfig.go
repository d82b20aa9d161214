package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/elsa"
)

// getter makes the config of one `sluice get`.
type getter struct {
	source   plugins.Definition
	schema   settingSchema
	flags    getFlags
	logs     []string
	settings []setting // all but the logs, in the order in which they are written
	asked    string    // the range, as YAML
	dir      string    // relative to base, or absolute
	base     string
	name     string // of the file, for messages
}

// setting is one key of a source's config. Value is what JSON can hold.
type setting struct {
	Key   string
	Value any
}

func newGetter(source, dir string, f getFlags) (*getter, error) {
	d, err := sourceDefinition(source)
	if err != nil {
		return nil, err
	}
	g := &getter{source: d, flags: f, logs: slices.Clone(f.logs)}
	if err := json.Unmarshal(d.Config, &g.schema); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", source, err)
	}
	if g.asked, err = f.askedRange(); err != nil {
		return nil, err
	}
	if g.base, g.name, err = f.place(); err != nil {
		return nil, err
	}
	if g.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(g.base, g.dir); err == nil && !strings.HasPrefix(rel, "..") {
		g.dir = "./" + filepath.ToSlash(rel)
	}
	return g, g.fill()
}

// fill collects the settings from the flags.
func (g *getter) fill() error {
	f := g.flags
	for _, s := range []struct {
		flag, key string
		given     bool
		value     any
	}{
		{"--region", "region", f.region != "", f.region},
		{"--base-url", "base_url", f.baseURL != "", f.baseURL},
		{"--query", "query", f.query != "", f.query},
		{"--logset", "logsets", len(f.logsets) > 0, f.logsets},
		{"--log", "logs", len(f.logs) > 0, nil}, // written by config, when they are resolved
	} {
		switch {
		case !s.given:
		case !g.schema.has(s.key):
			return fmt.Errorf("%s: the source %s has no setting %s; `sluice plugin describe %s` lists them", s.flag, g.source.Name, s.key, g.source.Name)
		case s.value != nil:
			g.settings = append(g.settings, setting{s.key, s.value})
		}
	}
	if err := g.addProjects(); err != nil {
		return err
	}
	for _, text := range f.settings {
		if err := g.set(text); err != nil {
			return fmt.Errorf("--set %w", err)
		}
	}
	return g.addKeys()
}

// isSet says whether one of the keys is among the settings.
func (g *getter) isSet(keys ...string) bool {
	return slices.ContainsFunc(g.settings, func(s setting) bool { return slices.Contains(keys, s.Key) })
}

// addKeys names the environment variables of the keys that aren't set otherwise.
func (g *getter) addKeys() error {
	keys := []setting{{"api_key", "R7_API_KEY"}}
	if g.source.Name == elsa.Name {
		keys = []setting{{"access_key", "NCP_ACCESS_KEY"}, {"secret_key", "NCP_SECRET_KEY"}}
	}
	if g.flags.keyEnv != "" {
		keys[len(keys)-1].Value = g.flags.keyEnv
	}
	for _, k := range keys {
		if !g.isSet(k.Key) {
			g.settings = append(g.settings, setting{k.Key, fmt.Sprintf("${env:%s}", k.Value)})
		}
	}
	return nil
}

func (g *getter) addProjects() error {
	if len(g.flags.projects) == 0 {
		if g.schema.has("projects") && !slices.ContainsFunc(g.flags.settings, func(s string) bool { return strings.HasPrefix(s, "project") }) {
			return errors.New("--project is missing: want KEY:ID, such as Pb00001_shop:8171; the vendor's console shows both")
		}
		return nil
	}
	if !g.schema.has("projects") {
		return fmt.Errorf("--project: the source %s has no projects", g.source.Name)
	}
	var projects []map[string]any
	for _, p := range g.flags.projects {
		key, id, _ := strings.Cut(p, ":")
		n, err := strconv.ParseUint(id, 10, 53)
		if key == "" || err != nil {
			return fmt.Errorf("--project %q: want KEY:ID, such as Pb00001_shop:8171", p)
		}
		projects = append(projects, map[string]any{"key": key, "id": n})
	}
	g.settings = append(g.settings, setting{"projects", projects})
	return nil
}

// set takes KEY=VALUE with dots between the keys of what is nested. VALUE is YAML. The error holds no value: it may be a secret.
func (g *getter) set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q: want KEY=VALUE", shortKey(key))
	}
	path := strings.Split(key, ".")
	if g.schema.secret(path) && !strings.HasPrefix(value, "${") {
		return fmt.Errorf("%s: a secret on the command line is seen by everyone on this machine; write '%s=${env:NAME}' or '%s=${file:PATH}'", key, key, key)
	}
	var v any
	if err := yaml.Unmarshal([]byte(value), &v); err != nil || strings.HasPrefix(value, "${") {
		v = value
	}
	at := slices.IndexFunc(g.settings, func(s setting) bool { return s.Key == path[0] })
	if at < 0 {
		g.settings = append(g.settings, setting{Key: path[0]})
		at = len(g.settings) - 1
	}
	g.settings[at].Value = nested(g.settings[at].Value, path[1:], v)
	return nil
}

// nested puts a value into maps below maps.
func nested(into any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	m, ok := into.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	m[path[0]] = nested(m[path[0]], path[1:], v)
	return m
}

// shortKey keeps what may be a secret without its key out of a message.
func shortKey(key string) string {
	if len(key) > 16 {
		return key[:4] + "..."
	}
	return key
}

// config returns the config and its text; with anyLog it names a log that isn't, which is enough to ask which there are.
func (g *getter) config(anyLog bool) (*config.Config, []byte, error) {
	settings := slices.Clone(g.settings)
	switch {
	case anyLog:
		settings = append(settings, setting{"logs", []string{"00000000-0000-0000-0000-000000000000"}})
	case len(g.logs) > 0:
		settings = append(settings, setting{"logs", g.logs})
	}
	var out bytes.Buffer
	err := getTemplate.Execute(&out, map[string]any{
		"Source": g.source.Name, "Settings": settings, "Streams": g.flags.asked.streams, "Range": g.asked, "Dir": g.dir,
		"Format": g.flags.format, "Compression": g.flags.compress,
	})
	if err != nil {
		return nil, nil, err
	}
	c, err := config.Parse(g.name, out.Bytes(), registry())
	if err != nil {
		return nil, nil, fmt.Errorf("these flags make a config that isn't valid:\n%w", err)
	}
	return c, out.Bytes(), nil
}

// yamlValue writes a value as JSON, which is YAML.
func yamlValue(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// yamlKey writes a key; one that isn't plain is quoted, for the config's check to refuse.
func yamlKey(key string) (string, error) {
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") == "" && key != "" {
		return key, nil
	}
	return yamlValue(key)
}

var getTemplate = template.Must(template.New("get").Funcs(template.FuncMap{"yaml": yamlValue, "key": yamlKey}).Parse(`# Made by ` + "`sluice get`" + `. ` + "`sluice run`" + ` with this file does the same.
state: {{print .Dir "/.sluice/state" | yaml}}
pipelines:
  - name: get
    source:
      type: {{.Source}}
      config:
{{- range .Settings}}
        {{key .Key}}: {{yaml .Value}}
{{- end}}
{{- if .Streams}}
    streams: {{yaml .Streams}}
{{- end}}
    range: {{.Range}}
    sinks:
      - name: files
        type: file
        config: {path: {{yaml .Dir}}, format: {{yaml .Format}}, compression: {{yaml .Compression}}}
    dead_letter: {path: {{print .Dir "/.sluice/dead" | yaml}}}
`))

// settingSchema is what get must know of a source's JSON Schema.
type settingSchema struct {
	Properties map[string]settingSchema `json:"properties"`
	Required   []string                 `json:"required"`
	Secret     bool                     `json:"x-sluice-secret"`
}

func (s settingSchema) has(key string) bool {
	_, ok := s.Properties[key]
	return ok
}

func (s settingSchema) requires(key string) bool { return slices.Contains(s.Required, key) }

// secret says whether a setting, or one around it, is one.
func (s settingSchema) secret(path []string) bool {
	for _, key := range path {
		if s = s.Properties[key]; s.Secret {
			return true
		}
	}
	return false
}
