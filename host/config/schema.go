package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// dialect is the JSON Schema that is used everywhere.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// Patterns of values in the file's schema. They are wider than the parsers, which also check bounds and order of units.
const (
	sizePattern     = `^[0-9]+(\.[0-9]+)? ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$`
	durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+)$`
	timePattern     = `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2}))?$`
	holderPattern   = `\$\{(env|file):[^}]+\}`
)

// Schema returns the JSON Schema (2020-12) of the whole file, for editors: the file's keys, and for each type of source
// and sink in the registry its settings. What only Load can check (names that are unique, ranges in order) isn't in it.
func Schema(reg Registry) ([]byte, error) {
	if err := newSchemaSet(reg).all(); err != nil {
		return nil, err
	}
	defs := map[string]any{}
	sources, sinks := map[string][]byte{}, map[string][]byte{}
	for name, t := range reg.Sources {
		sources[name] = t.Schema
	}
	for name, t := range reg.Sinks {
		sinks[name] = t.Schema
	}
	root := sectionSchema(fileKeys(), "")
	root["$schema"] = dialect
	root["title"] = "sluice.yaml"
	pipeline := propertyOf(root, "pipelines")["items"].(map[string]any)
	if err := addTypes(propertyOf(pipeline, "source"), defs, "source", sources); err != nil {
		return nil, err
	}
	if err := addTypes(propertyOf(pipeline, "sinks")["items"].(map[string]any), defs, "sink", sinks); err != nil {
		return nil, err
	}
	for name, t := range reg.Sources {
		streams := map[string]any{"properties": map[string]any{"streams": map[string]any{"items": map[string]any{"enum": t.Streams}}}}
		condition := map[string]any{"properties": map[string]any{"source": map[string]any{"properties": map[string]any{"type": map[string]any{"const": name}}, "required": []string{"type"}}}, "required": []string{"source"}}
		all, _ := pipeline["allOf"].([]any)
		pipeline["allOf"] = append(all, map[string]any{"if": condition, "then": streams})
	}
	sortConditions(pipeline)
	root["$defs"] = defs
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("config schema: %w", err)
	}
	return out.Bytes(), nil
}

func propertyOf(schema map[string]any, name string) map[string]any {
	return schema["properties"].(map[string]any)[name].(map[string]any)
}

// sortConditions orders what came out of a map, so that the schema is the same each time.
func sortConditions(schema map[string]any) {
	all, _ := schema["allOf"].([]any)
	slices.SortFunc(all, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func sectionSchema(keys []key, doc string) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range keys {
		k := &keys[i]
		if k.later != "" {
			continue
		}
		properties[k.name] = k.schema()
		if k.required {
			required = append(required, k.name)
		}
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if doc != "" {
		out["description"] = doc
	}
	if required != nil {
		out["required"] = required
	}
	return out
}

func (k *key) schema() map[string]any {
	var out map[string]any
	switch k.typ {
	case aSection:
		out = sectionSchema(k.keys, k.doc)
	case aSectionList:
		out = map[string]any{"type": "array", "minItems": 1, "items": sectionSchema(k.keys, "")}
	case aSettings:
		out = map[string]any{"type": "object"}
	case aName:
		out = map[string]any{"type": "string", "pattern": namePattern().String()}
	case aPath:
		out = map[string]any{"type": "string", "minLength": 1}
	case aSize:
		out = map[string]any{"type": []string{"integer", "string"}, "pattern": sizePattern, "minimum": k.min, "maximum": k.max}
	case aDuration:
		out = map[string]any{"type": "string", "pattern": durationPattern}
	case aTime:
		out = map[string]any{"type": "string", "pattern": timePattern}
	case aCount:
		out = map[string]any{"type": "integer", "minimum": k.min}
		if k.max < math.MaxInt64 {
			out["maximum"] = k.max
		}
	case aSlice:
		out = map[string]any{"type": "string"}
	case aChoice:
		out = map[string]any{"type": "string", "enum": k.choices}
	case aLabels:
		out = map[string]any{
			"type": "object", "propertyNames": map[string]any{"pattern": labelPattern().String()},
			"additionalProperties": map[string]any{"type": "string", "minLength": 1, "maxLength": maxLabel},
		}
	case aDurationList:
		out = durationsSchema()
	case aListOrSection:
		out = map[string]any{"anyOf": []any{durationsSchema(), sectionSchema(k.keys, "")}}
	case aNameList:
		out = map[string]any{"type": "array", "minItems": 1, "uniqueItems": true, "items": map[string]any{"type": "string"}}
	}
	doc := []string{k.doc}
	if unit := k.unit(); unit != "" {
		doc = append(doc, "unit: "+unit)
	}
	if bounds := k.boundsText(); bounds != "" && k.typ != aChoice && k.typ != aName {
		doc = append(doc, "allowed: "+bounds)
	}
	if k.def != "" {
		doc = append(doc, "default: "+k.def)
		switch k.typ {
		case aCount:
			out["default"] = k.defaultNumber()
		default:
			out["default"] = strings.Trim(k.def, `"`)
		}
	}
	out["description"] = strings.Join(doc, "; ")
	return out
}

func durationsSchema() map[string]any {
	return map[string]any{
		"type": "array", "minItems": 1, "maxItems": maxDurations, "uniqueItems": true,
		"items": map[string]any{"type": "string", "pattern": durationPattern},
	}
}

// addTypes makes a schema's `config` depend on its `type`.
func addTypes(schema map[string]any, defs map[string]any, what string, types map[string][]byte) error {
	names := slices.Sorted(maps.Keys(types))
	propertyOf(schema, "type")["enum"] = names
	var conditions []any
	for _, name := range names {
		var settings map[string]any
		dec := json.NewDecoder(bytes.NewReader(types[name]))
		dec.UseNumber()
		if err := dec.Decode(&settings); err != nil {
			return fmt.Errorf("config schema of %s %s: %w", what, name, err)
		}
		def := what + "-" + name
		delete(settings, "$schema")
		delete(settings, "$id")
		defs[def] = embed(settings, "#/$defs/"+def)
		then := map[string]any{"properties": map[string]any{"config": map[string]any{"$ref": "#/$defs/" + def}}}
		if required, _ := settings["required"].([]any); len(required) > 0 {
			then["required"] = []string{"config"}
		}
		conditions = append(conditions, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"type": map[string]any{"const": name}}, "required": []string{"type"}},
			"then": then,
		})
	}
	if conditions != nil {
		schema["allOf"] = conditions
	}
	return nil
}

// embed moves a schema below another root: references get its new place, formats of ours a pattern that any validator
// knows, and text with a form may be a placeholder instead.
func embed(schema map[string]any, root string) map[string]any {
	for _, sub := range childSchemas(schema) {
		embed(sub.schema, root)
	}
	if ref, ok := schema["$ref"].(string); ok && strings.HasPrefix(ref, "#") {
		schema["$ref"] = root + strings.TrimPrefix(ref, "#")
	}
	switch schema["format"] {
	case FormatSize:
		delete(schema, "format")
		schema["pattern"] = sizePattern
	case FormatDuration:
		delete(schema, "format")
		schema["pattern"] = durationPattern
	case FormatTime:
		delete(schema, "format")
		schema["pattern"] = timePattern
	}
	form := map[string]any{}
	for _, k := range []string{"enum", "const", "pattern", "format", "minLength", "maxLength"} {
		if v, ok := schema[k]; ok {
			form[k] = v
		}
	}
	if len(form) == 0 || !takesText(schema) {
		return schema
	}
	for k := range form {
		delete(schema, k)
	}
	placeholder := map[string]any{"type": "string", "pattern": holderPattern}
	if other, ok := schema["anyOf"]; ok {
		delete(schema, "anyOf")
		form["anyOf"] = other
	}
	schema["anyOf"] = []any{form, placeholder}
	return schema
}

func takesText(schema map[string]any) bool {
	switch t := schema["type"].(type) {
	case string:
		return t == "string"
	case []any:
		return slices.Contains(texts(t), "string")
	}
	return len(texts(schema["enum"])) > 0
}
