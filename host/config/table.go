package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Table returns every key of the file with its type, unit, default and bounds as a Markdown table. docs/config.md holds it.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | takes | unit | default | allowed | meaning |\n|---|---|---|---|---|---|\n")
	tableRows(&b, fileKeys(), "")
	return b.String()
}

// LaterTable returns the keys that are known and refused in this version, with the reason, as a Markdown table.
func LaterTable() string {
	var b strings.Builder
	b.WriteString("| key | what the error says |\n|---|---|\n")
	laterRows(&b, fileKeys(), "")
	return b.String()
}

func tableRows(b *strings.Builder, keys []key, path string) {
	for i := range keys {
		k := &keys[i]
		if k.later != "" {
			continue
		}
		at := joinPath(path, k.name)
		def := "–"
		switch {
		case k.required:
			def = "required"
		case k.def != "":
			def = "`" + k.def + "`"
		}
		row(b, "`"+at+"`", k.takes(), k.unit(), def, k.allowed(), k.doc)
		if k.typ == aSectionList {
			at += "[]"
		}
		tableRows(b, k.keys, at)
	}
}

func laterRows(b *strings.Builder, keys []key, path string) {
	for i := range keys {
		k := &keys[i]
		at := joinPath(path, k.name)
		if k.later != "" {
			row(b, "`"+at+"`", k.later)
		}
		if k.typ == aSectionList {
			at += "[]"
		}
		laterRows(b, k.keys, at)
	}
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// takes names a key's type for the table.
func (k *key) takes() string {
	switch k.typ {
	case aName:
		return "name"
	case aPath:
		return "path"
	case aSize:
		return "size"
	case aDuration:
		return "duration"
	case aTime:
		return "time"
	case aCount:
		return "whole number"
	case aSlice:
		return "`auto`, duration or size"
	case aChoice:
		return "one of"
	case aNameList:
		return "list of names"
	case aSection, aSettings, aLabels:
		return "group"
	case aSectionList:
		return "list of groups"
	case aDurationList:
		return "list of durations"
	case aListOrSection:
		return "list of durations, or group"
	}
	return fmt.Sprint("type ", k.typ)
}

// unit names what a key's plain number counts, or the units that it takes.
func (k *key) unit() string {
	switch k.typ {
	case aSize:
		return "bytes; KB, MiB, ..."
	case aDuration, aDurationList:
		return "ms s m h d w"
	case aTime:
		return "UTC milliseconds"
	case aCount:
		return "count"
	}
	return ""
}

func (k *key) allowed() string {
	if k.typ != aChoice {
		return k.boundsText()
	}
	quoted := make([]string, len(k.choices))
	for i, c := range k.choices {
		quoted[i] = "`" + c + "`"
		if c == "" {
			quoted[i] = "`\"\"`"
		}
	}
	return strings.Join(quoted, ", ")
}

// SettingsTable returns the keys of one type's settings as a Markdown table, made from its schema.
func SettingsTable(schema []byte) (string, error) {
	s, err := compileSchema(schema)
	if err != nil {
		return "", fmt.Errorf("config schema: %w", err)
	}
	var b strings.Builder
	b.WriteString("| key | takes | default | allowed | meaning |\n|---|---|---|---|---|\n")
	s.rows(&b, nil, "")
	return b.String(), nil
}

func (s *settingsSchema) rows(b *strings.Builder, location []string, path string) {
	if len(location) > 8 {
		return // a schema may refer to itself
	}
	var required []string
	for _, schema := range s.at(location) {
		if schema["properties"] != nil { // else it is an alternative, one of several ways to be complete
			required = append(required, texts(schema["required"])...)
		}
	}
	names, _ := s.properties(location)
	for _, name := range names {
		at := append(slices.Clone(location), name)
		facts := map[string]any{}
		for _, schema := range s.at(at) {
			for k, v := range schema {
				if _, ok := facts[k]; !ok {
					facts[k] = v
				}
			}
		}
		def := "–"
		if slices.Contains(required, name) {
			def = "required"
		} else if v, ok := facts["default"]; ok {
			def = "`" + jsonText(v) + "`"
		}
		meaning, _ := facts["description"].(string)
		if facts[keySecret] == true {
			meaning = strings.TrimSpace(meaning + " Secret.")
		}
		if facts[keySelection] == true {
			meaning = strings.TrimSpace(meaning + " Part of the selection.")
		}
		below := joinPath(path, name)
		row(b, "`"+below+"`", s.takes(at), def, allowedValues(facts), meaning)
		s.rows(b, at, below)
	}
}

func (s *settingsSchema) takes(location []string) string {
	var types []string
	for _, schema := range s.at(location) {
		if enum := texts(schema["enum"]); len(enum) > 0 && schema["type"] == nil {
			types = append(types, "string")
		}
		switch t := schema["type"].(type) {
		case string:
			types = append(types, t)
		case []any:
			types = append(types, texts(t)...)
		}
		switch schema["format"] {
		case FormatSize:
			return "size"
		case FormatDuration:
			return "duration"
		case FormatTime:
			return "time"
		}
	}
	return typeNames(types)
}

func allowedValues(facts map[string]any) string {
	if enum, ok := facts["enum"].([]any); ok {
		var out []string
		for _, v := range enum {
			out = append(out, "`"+strings.Trim(jsonText(v), `"`)+"`")
		}
		return strings.Join(out, ", ")
	}
	var out []string
	for _, bound := range []struct{ keyword, words string }{
		{"minimum", "at least"}, {"exclusiveMinimum", "more than"}, {"maximum", "at most"}, {"exclusiveMaximum", "less than"},
	} {
		if v, ok := facts[bound.keyword]; ok {
			out = append(out, bound.words+" "+jsonText(v))
		}
	}
	return strings.Join(out, ", ")
}

func jsonText(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(out.String())
}
