package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Keywords beside the standard ones that a settings schema may use.
const (
	keySecret    = "x-sluice-secret"    // true: never printed
	keySelection = "x-sluice-selection" // true: part of the selection's ID
	keyKnown     = "x-sluice-known"     // a list of usual values: another one is a warning, not an error
)

// Formats that a settings schema may name for text beside the standard ones. Integers pass them: bytes for a size.
const (
	FormatSize     = "sluice-size"
	FormatDuration = "sluice-duration"
	FormatTime     = "sluice-time"
)

// settingsSchema is the schema of one type's settings, compiled and as a tree that can be asked about single keys.
type settingsSchema struct {
	root     map[string]any
	compiled *jsonschema.Schema
}

// schemaSet compiles the schemas of a registry when they are asked for: a file names few of the types there are.
type schemaSet struct {
	reg            Registry
	sources, sinks map[string]*settingsSchema // compiled so far
	broken         error                      // of the first that doesn't compile
}

func newSchemaSet(reg Registry) *schemaSet {
	return &schemaSet{reg: reg, sources: map[string]*settingsSchema{}, sinks: map[string]*settingsSchema{}}
}

// source returns the schema of a type of source, false if there is no such type or its schema is broken.
func (s *schemaSet) source(name string) (*settingsSchema, bool) {
	t, known := s.reg.Sources[name]
	return s.compiled(s.sources, known, "source", name, t.Schema)
}

// sink returns the schema of a type of sink, as source does.
func (s *schemaSet) sink(name string) (*settingsSchema, bool) {
	t, known := s.reg.Sinks[name]
	return s.compiled(s.sinks, known, "sink", name, t.Schema)
}

func (s *schemaSet) compiled(all map[string]*settingsSchema, known bool, what, name string, raw []byte) (*settingsSchema, bool) {
	if c, ok := all[name]; ok || !known {
		return c, ok
	}
	c, err := compileSchema(raw)
	if err != nil {
		if s.broken == nil {
			s.broken = fmt.Errorf("config schema of %s %s: %w", what, name, err)
		}
		return nil, false
	}
	all[name] = c
	return c, true
}

// all compiles every schema and returns the first error.
func (s *schemaSet) all() error {
	for name := range s.reg.Sources {
		s.source(name)
	}
	for name := range s.reg.Sinks {
		s.sink(name)
	}
	return s.broken
}

// noLoader keeps schemas from reading files or the network: every $ref must stay inside.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: a schema may only refer to itself", url)
}

func newCompiler() *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	c.RegisterFormat(textFormat(FormatSize, func(s string) error { _, err := ParseSize(s); return err }))
	c.RegisterFormat(textFormat(FormatDuration, func(s string) error { _, err := ParseDuration(s); return err }))
	c.RegisterFormat(textFormat(FormatTime, func(s string) error { _, err := ParseTime(s); return err }))
	return c
}

func textFormat(name string, parse func(string) error) *jsonschema.Format {
	return &jsonschema.Format{Name: name, Validate: func(v any) error {
		if s, ok := v.(string); ok {
			return parse(s)
		}
		return nil
	}}
}

// settingsURL names a settings schema while it is compiled.
const settingsURL = "sluice:settings"

func compileSchema(raw []byte) (*settingsSchema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	root, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	c := newCompiler()
	if err := c.AddResource(settingsURL, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(settingsURL)
	if err != nil {
		return nil, err
	}
	s := &settingsSchema{root: root, compiled: compiled}
	return s, s.checkMarks(s.root, "", 0)
}

// checkMarks refuses a key that is secret and part of the selection: an ID must not depend on a secret.
func (s *settingsSchema) checkMarks(schema map[string]any, path string, depth int) error {
	if schema[keySecret] == true && schema[keySelection] == true {
		return fmt.Errorf("%s is both secret and part of the selection", path)
	}
	if depth > maxDepth {
		return nil
	}
	for _, sub := range childSchemas(schema) {
		if err := s.checkMarks(sub.schema, joinPath(path, sub.name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

type namedSchema struct {
	name   string
	schema map[string]any
}

// childSchemas lists every schema directly inside another, in a fixed order.
func childSchemas(schema map[string]any) []namedSchema {
	var out []namedSchema
	for _, k := range mapKeys(schema) {
		switch v := schema[k].(type) {
		case map[string]any:
			switch k {
			case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
				for _, name := range mapKeys(v) {
					if sub, ok := v[name].(map[string]any); ok {
						out = append(out, namedSchema{name, sub})
					}
				}
			case "items", "additionalProperties", "unevaluatedProperties", "not", "if", "then", "else", "contains", "propertyNames":
				out = append(out, namedSchema{k, v})
			}
		case []any:
			if k == "allOf" || k == "anyOf" || k == "oneOf" || k == "prefixItems" {
				for _, item := range v {
					if sub, ok := item.(map[string]any); ok {
						out = append(out, namedSchema{k, sub})
					}
				}
			}
		}
	}
	return out
}

// forms lists a schema and every schema that applies to the same value: references and alternatives.
func (s *settingsSchema) forms(schema map[string]any, depth int) []map[string]any {
	if schema == nil || depth > 16 {
		return nil
	}
	out := []map[string]any{schema}
	if ref, ok := schema["$ref"].(string); ok {
		out = append(out, s.forms(s.referred(ref), depth+1)...)
	}
	for _, k := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := schema[k].([]any)
		for _, item := range list {
			if sub, ok := item.(map[string]any); ok {
				out = append(out, s.forms(sub, depth+1)...)
			}
		}
	}
	for _, k := range []string{"if", "then", "else"} {
		if sub, ok := schema[k].(map[string]any); ok {
			out = append(out, s.forms(sub, depth+1)...)
		}
	}
	return out
}

// referred follows a reference inside of the schema: "#/$defs/log".
func (s *settingsSchema) referred(ref string) map[string]any {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	var at any = s.root
	for step := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		if step == "" {
			continue
		}
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	m, _ := at.(map[string]any)
	return m
}

// at lists the schemas that apply to the value at a location.
func (s *settingsSchema) at(location []string) []map[string]any {
	now := s.forms(s.root, 0)
	for _, step := range location {
		var next []map[string]any
		for _, schema := range now {
			for _, sub := range stepInto(schema, step) {
				next = append(next, s.forms(sub, 0)...)
			}
		}
		now = next
	}
	return now
}

func stepInto(schema map[string]any, step string) []map[string]any {
	var out []map[string]any
	add := func(v any) {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	if properties, ok := schema["properties"].(map[string]any); ok {
		add(properties[step])
	}
	if patterns, ok := schema["patternProperties"].(map[string]any); ok {
		for p, sub := range patterns {
			if re, err := regexp.Compile(p); err == nil && re.MatchString(step) {
				add(sub)
			}
		}
	}
	if len(out) == 0 {
		add(schema["additionalProperties"])
	}
	if isDigits(step) {
		add(schema["items"])
		items, _ := schema["prefixItems"].([]any)
		if i, err := strconv.Atoi(step); err == nil && i < len(items) {
			add(items[i])
		}
	}
	return out
}

// properties lists the keys that a mapping at a location may have. open says that it may have others, too.
func (s *settingsSchema) properties(location []string) (names []string, open bool) {
	for _, schema := range s.at(location) {
		properties, _ := schema["properties"].(map[string]any)
		names = append(names, mapKeys(properties)...)
		switch extra := schema["additionalProperties"].(type) {
		case bool:
			open = open || extra
		case map[string]any:
			open = true
		}
		if _, ok := schema["patternProperties"]; ok {
			open = true
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names, open || len(names) == 0
}

// isSecret reports whether the value at a location, or one around it, is marked secret.
func (s *settingsSchema) isSecret(location []string) bool {
	for i := range len(location) + 1 {
		for _, schema := range s.at(location[:i]) {
			if schema[keySecret] == true {
				return true
			}
		}
	}
	return false
}

// mayShow reports whether a message may quote the value at a location: nothing at, around or below it is secret.
// Below counts because a group of keys may have been written as one text.
func (s *settingsSchema) mayShow(location []string) bool {
	if s.isSecret(location) {
		return false
	}
	for _, schema := range s.at(location) {
		if s.holdsSecret(schema, 0) {
			return false
		}
	}
	return true
}

func (s *settingsSchema) holdsSecret(schema map[string]any, depth int) bool {
	if depth > 16 {
		return true // deeper than any real schema: say nothing rather than too much
	}
	if schema[keySecret] == true {
		return true
	}
	if ref, ok := schema["$ref"].(string); ok {
		if sub := s.referred(ref); sub != nil && s.holdsSecret(sub, depth+1) {
			return true
		}
	}
	return slices.ContainsFunc(childSchemas(schema), func(sub namedSchema) bool { return s.holdsSecret(sub.schema, depth+1) })
}

// isShaped reports whether text at a location must have a form: a number in quotes wouldn't do.
func (s *settingsSchema) isShaped(location []string) bool {
	return slices.ContainsFunc(s.at(location), func(schema map[string]any) bool {
		return schema["pattern"] != nil || schema["format"] != nil
	})
}

// ways lists what may be given where a schema leaves the choice, each as the keys that it requires.
func (s *settingsSchema) ways(location []string) (out []string) {
	for _, schema := range s.at(location) {
		branches, _ := schema["oneOf"].([]any)
		for _, b := range branches {
			if branch, ok := b.(map[string]any); ok && branch["required"] != nil {
				out = append(out, andList(texts(branch["required"])))
			}
		}
	}
	return out
}

// describe returns the description of the value at a location as the end of a line, "" without one.
func (s *settingsSchema) describe(location []string) string {
	for _, schema := range s.at(location) {
		if text, ok := schema["description"].(string); ok {
			return lowerFirst(strings.TrimSuffix(text, "."))
		}
	}
	return ""
}

// lowerFirst makes a sentence the rest of a line; words such as LEQL and ID stay.
func lowerFirst(s string) string {
	if len(s) > 1 && 'A' <= s[0] && s[0] <= 'Z' && (s[1] == ' ' || 'a' <= s[1] && s[1] <= 'z') {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// SelectionSettings returns what the user gave of the keys that a schema marks x-sluice-selection, by key: what
// flow.NewSelectionID hashes. A key inside a group is named by its path ("filter.query"). A key that was left out is absent.
// settings are those of Resolve: a selection depends on what a placeholder stands for.
func SelectionSettings(schema []byte, settings json.RawMessage) (map[string]json.RawMessage, error) {
	compiled, err := compileSchema(schema)
	if err != nil {
		return nil, fmt.Errorf("config schema: %w", err)
	}
	out := map[string]json.RawMessage{}
	return out, compiled.selection(nil, settings, out)
}

func (s *settingsSchema) selection(location []string, raw json.RawMessage, out map[string]json.RawMessage) error {
	if len(location) > maxDepth {
		return errors.New("settings: too many levels")
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' {
		if len(location) == 0 {
			return errors.New("settings: not a JSON object")
		}
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return errors.New("settings: not a JSON object") // the cause could quote a value
	}
	for name, value := range object {
		at := append(slices.Clone(location), name)
		if slices.ContainsFunc(s.at(at), func(schema map[string]any) bool { return schema[keySelection] == true }) {
			out[strings.Join(at, ".")] = value
			continue
		}
		if err := s.selection(at, value, out); err != nil {
			return err
		}
	}
	return nil
}
