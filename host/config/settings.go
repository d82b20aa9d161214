package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// settings checks the `config` of a source or sink by its schema.
func (l *loader) settings(s *section, schema *settingsSchema) Settings {
	path := joinPath(s.path, "config")
	tree := s.values["config"].raw
	if tree == nil {
		tree = &node{kind: mapping, pos: s.pos}
		if l.reported(path) { // written, but not a group of keys: what it lacks doesn't matter
			return Settings{}
		}
	}
	c := &checker{decoder: &l.decoder, schema: schema, path: path, root: tree, omitted: map[string]bool{}, positions: map[string]Position{}}
	var out bytes.Buffer
	c.write(&out, tree, nil, path)
	c.validate(out.Bytes())
	return Settings{
		JSON: out.Bytes(), Positions: c.positions,
		file: l.file, dir: l.dir, path: path, tree: tree, schema: schema,
	}
}

func accountOf(settings *node) string {
	if n := settings.get("account"); n != nil && n.kind == text {
		return n.text
	}
	return ""
}

// checker turns one tree of settings into JSON and reports what is wrong with it.
type checker struct {
	*decoder
	schema    *settingsSchema
	path      string // of the settings in the file
	root      *node
	resolved  map[string]bool     // places whose value came from a placeholder: never quoted
	omitted   map[string]bool     // places with a null, reported already
	positions map[string]Position // by the path below the settings
}

// write appends a tree as JSON, its keys in the file's order. Nulls are reported and left out.
func (c *checker) write(out *bytes.Buffer, n *node, location []string, path string) {
	c.positions[strings.TrimPrefix(strings.TrimPrefix(path, c.path), ".")] = n.pos
	switch n.kind {
	case mapping:
		c.unknownKeys(n, location, path)
		out.WriteByte('{')
		first := true
		for _, e := range n.keys {
			at, below := append(slices.Clone(location), e.name), joinPath(path, e.name)
			if e.value.kind == null {
				c.omitted[below] = true
				if e.value.text == "" || e.value.text == "~" || strings.EqualFold(e.value.text, "null") {
					c.add(e.pos, below, "the key has no value", "write one, or remove the key")
				}
				continue
			}
			if !first {
				out.WriteByte(',')
			}
			first = false
			writeString(out, e.name)
			out.WriteByte(':')
			c.write(out, e.value, at, below)
		}
		out.WriteByte('}')
	case list:
		out.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				out.WriteByte(',')
			}
			c.write(out, item, append(slices.Clone(location), strconv.Itoa(i)), fmt.Sprintf("%s[%d]", path, i))
		}
		out.WriteByte(']')
	case integer, number, boolean:
		out.WriteString(n.text)
	case text:
		writeString(out, n.text)
		c.checkText(n, location, path)
	default:
		out.WriteString("null")
	}
}

func writeString(out *bytes.Buffer, s string) {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes, into memory
	out.Truncate(out.Len() - 1)
}

// checkText reports wrong placeholders, secrets that stand in the file, and values that are likely slips.
func (c *checker) checkText(n *node, location []string, path string) {
	if c.resolved != nil {
		return
	}
	if err := checkPlaceholders(n.text); err != nil {
		c.add(n.pos, path, err.Error(), "write ${env:NAME}, ${env:NAME:-default} or ${file:/path}; a literal ${ is written $${")
		return
	}
	if hasPlaceholder(n.text) {
		return
	}
	if c.schema.isSecret(location) {
		if isPlainURL(n.text) {
			return // a proxy without a password, for one
		}
		c.warn(n.pos, path, "a secret is written in the file", "put it in ${env:...} or ${file:...}")
		return
	}
	if passwordOf(n.text) != "" {
		c.warn(n.pos, path, "a password is written in the file, in a URL", "put it in ${env:...} or ${file:...}")
	}
	for _, schema := range c.schema.at(location) {
		known := texts(schema[keyKnown])
		if examples := texts(schema["examples"]); known == nil && areWords(examples) && nearest(n.text, examples) != "" {
			known = examples // other values are as good, but one that is nearly an example is likely a slip
		}
		if len(known) == 0 || slices.Contains(known, n.text) || !c.schema.mayShow(location) {
			continue
		}
		c.warn(n.pos, path, strconv.Quote(shorten(n.text))+" is not a value that this version knows", didYouMean(n.text, known))
		break
	}
}

// passwordOf returns the password in a URL, "" without one.
func passwordOf(s string) string {
	if !strings.Contains(s, "@") {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// mayHoldPassword reports whether s could be a URL with a user and a password, also one that can't be read.
func mayHoldPassword(s string) bool {
	_, rest, isURL := strings.Cut(s, "://")
	return isURL && strings.Contains(rest, "@")
}

// isPlainURL reports whether s is a URL that holds no credentials.
func isPlainURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && strings.Trim(u.Path, "/") == ""
}

// areWords reports whether examples are the usual values of a key, such as regions, and not samples of free text.
func areWords(examples []string) bool {
	return len(examples) > 2 && !slices.ContainsFunc(examples, func(s string) bool { return !namePattern().MatchString(s) })
}

// texts returns the strings of a JSON list.
func texts(v any) []string {
	items, _ := v.([]any)
	var out []string
	for _, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// unknownKeys reports keys that the schema doesn't have, whether or not it closes the mapping by itself.
func (c *checker) unknownKeys(n *node, location []string, path string) {
	names, open := c.schema.properties(location)
	if open {
		return
	}
	for _, e := range n.keys {
		if slices.Contains(names, e.name) {
			continue
		}
		c.add(e.pos, joinPath(path, e.name), "unknown key "+strconv.Quote(shorten(e.name)), didYouMean(e.name, names))
	}
}

// validate checks the JSON by the schema and reports each violation at the value that it is about.
func (c *checker) validate(raw []byte) {
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		c.add(c.root.pos, c.path, "the settings can't be written as JSON", "")
		return
	}
	for _, v := range violations(c.schema.compiled.Validate(instance)) {
		c.report(v)
	}
}

// place finds a value by its location. It returns the closest value around it if there is none.
func (c *checker) place(location []string) (n *node, path string) {
	n, path = c.root, c.path
	for _, step := range location {
		var next *node
		below := path
		if n.kind == list {
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.items) {
				next, below = n.items[i], fmt.Sprintf("%s[%d]", path, i)
			}
		} else {
			next, below = n.get(step), joinPath(path, step)
		}
		if next == nil {
			return n, path
		}
		n, path = next, below
	}
	return n, path
}
