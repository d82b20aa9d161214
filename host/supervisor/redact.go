package supervisor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

// mask stands where a secret stood.
const mask = "***"

// minSecret is the shortest value that is masked, in bytes: masking shorter ones would only mangle the text.
const minSecret = 4

// redactor masks a plugin's secrets in what is logged and told of it. Safe for concurrent use.
type redactor struct {
	replacer atomic.Pointer[strings.Replacer]
}

// set names the secrets. Their URL-escaped, JSON-escaped and base64 forms are masked too.
func (r *redactor) set(secrets []string) {
	var forms []string
	for _, s := range secrets {
		if len(s) < minSecret {
			continue
		}
		forms = append(forms, s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s)), strings.Trim(jsonString(s), `"`))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // of two that begin alike the longer wins
	var pairs []string
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, mask)
	}
	r.replacer.Store(strings.NewReplacer(pairs...))
}

func (r *redactor) text(s string) string {
	if rep := r.replacer.Load(); rep != nil {
		return rep.Replace(s)
	}
	return s
}

func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(b)
}

// schemaSecrets finds the values of the settings that a JSON Schema marks "x-sluice-secret": true, at any depth.
func schemaSecrets(schema, settings []byte) []string {
	var node, value any
	if json.Unmarshal(schema, &node) != nil || decodeNumbers(settings, &value) != nil {
		return nil
	}
	var found []string
	markedValues(node, value, &found)
	return found
}

func decodeNumbers(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(v)
}

func markedValues(node, value any, found *[]string) {
	schema, ok := node.(map[string]any)
	if !ok {
		return
	}
	if marked, _ := schema["x-sluice-secret"].(bool); marked {
		allStrings(value, found)
		return
	}
	switch value := value.(type) {
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for k, v := range value {
			if property, ok := properties[k]; ok {
				markedValues(property, v, found)
			}
		}
	case []any:
		for _, v := range value {
			markedValues(schema["items"], v, found)
		}
	}
	for _, k := range []string{"allOf", "anyOf", "oneOf"} {
		parts, _ := schema[k].([]any)
		for _, part := range parts {
			markedValues(part, value, found)
		}
	}
}

func allStrings(value any, found *[]string) {
	switch value := value.(type) {
	case string:
		*found = append(*found, value)
	case json.Number:
		*found = append(*found, value.String())
	case []any:
		for _, v := range value {
			allStrings(v, found)
		}
	case map[string]any:
		for _, v := range value {
			allStrings(v, found)
		}
	}
}

// urlSecrets returns the user and password that a proxy's URL may hold.
func urlSecrets(raw string) []string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return nil
	}
	password, _ := u.User.Password()
	return []string{password, u.User.String()}
}
