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

// shortestCut is the least length in bytes at which the SDK cuts what it tells of itself without a sign of it.
const shortestCut = 256

// redactor masks a plugin's secrets in what is logged and told of it. A text must be masked before it is cut: half a secret isn't found any
// more. Safe for concurrent use.
type redactor struct {
	secrets atomic.Pointer[secretForms]
}

type secretForms struct {
	forms    []string // the longest first
	replacer *strings.Replacer
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
	forms = slices.Compact(forms)
	var pairs []string
	for _, f := range forms {
		pairs = append(pairs, f, mask)
	}
	r.secrets.Store(&secretForms{forms: forms, replacer: strings.NewReplacer(pairs...)})
}

// text masks the secrets in s, and what is left of one in front of "...", where somebody has cut.
func (r *redactor) text(s string) string {
	known := r.secrets.Load()
	if known == nil {
		return s
	}
	s = known.replacer.Replace(s)
	if !strings.Contains(s, "...") {
		return s
	}
	parts := strings.Split(s, "...")
	for i := range parts[:len(parts)-1] {
		parts[i] = known.end(parts[i])
	}
	return strings.Join(parts, "...")
}

// cut is text for what was cut at its end.
func (r *redactor) cut(s string) string {
	s = r.text(s)
	if known := r.secrets.Load(); known != nil {
		s = known.end(s)
	}
	return s
}

// told is text for what a plugin told, which may have cut it: a short one hasn't, and may end by chance as a secret begins.
func (r *redactor) told(s string) string {
	if len(s) >= shortestCut {
		return r.cut(s)
	}
	return r.text(s)
}

// shown makes what a plugin told fit to be shown: masked, then cleaned and cut to n bytes.
func (r *redactor) shown(s string, n int) string { return clean([]byte(r.told(s)), n) }

// end masks the beginning of a secret with which a text ends, in quotes or not.
func (f *secretForms) end(s string) string {
	bare := strings.TrimSuffix(s, `"`)
	longest := 0
	for _, form := range f.forms {
		for n := min(len(form)-1, len(bare)); n >= max(minSecret, longest+1); n-- {
			if strings.HasSuffix(bare, form[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return s
	}
	return bare[:len(bare)-longest] + mask + s[len(bare):]
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
