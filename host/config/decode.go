package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// section is a mapping that was decoded by its keys. Values that were wrong are left out, as keys that weren't given:
// both read as the default, and the problem stops Load in the end.
type section struct {
	path   string
	pos    Position
	keys   []key
	values map[string]value
}

// value is one key's value; which field is set follows from the key's type.
type value struct {
	pos      Position
	text     string // name, text, path, choice
	n        int64  // size, duration, count
	time     Time
	slice    Slice
	names    []located
	labels   map[string]string
	list     []int64 // durations, ascending
	section  *section
	sections []*section
	raw      *node // settings
}

type located struct {
	name string
	pos  Position
}

// decoder walks a tree by the table of keys and collects problems.
type decoder struct {
	file     string
	problems Problems
	warnings Problems
}

// maxProblems bounds what is reported: nobody reads more, and a broken file may have one for each of its lines.
const maxProblems = 500

func (d *decoder) add(pos Position, path, message, hint string) {
	if len(d.problems) >= maxProblems {
		return
	}
	d.problems = append(d.problems, newProblem(d.file, pos, path, message, hint))
}

func (d *decoder) warn(pos Position, path, message, hint string) {
	if len(d.warnings) >= maxProblems {
		return
	}
	d.warnings = append(d.warnings, newProblem(d.file, pos, path, message, hint))
}

// section decodes a mapping. n may be nil or of another kind: then every key is missing.
func (d *decoder) section(n *node, keys []key, path string, pos Position) *section {
	s := &section{path: path, pos: pos, keys: keys, values: map[string]value{}}
	if n != nil {
		s.pos = n.pos
		if n.kind != mapping {
			d.wrongType(n, path, "a group of keys")
			return s
		}
		for _, e := range n.keys {
			d.key(s, e)
		}
	}
	for i := range keys {
		if keys[i].required && n.get(keys[i].name) == nil {
			d.add(s.pos, joinPath(path, keys[i].name), "this key is missing", keys[i].doc)
		}
	}
	return s
}

func (d *decoder) key(s *section, e entry) {
	path := joinPath(s.path, e.name)
	k := findKey(s.keys, e.name)
	switch {
	case k == nil:
		d.add(e.pos, path, "unknown key "+strconv.Quote(shorten(e.name)), didYouMean(e.name, keyNames(s.keys)))
	case k.later != "":
		d.add(e.pos, path, "not in this version: "+k.later, "remove the key")
	case e.value.kind == null:
		if e.value.text == "" || strings.EqualFold(e.value.text, "null") || e.value.text == "~" {
			d.add(e.pos, path, "the key has no value", "write "+k.expects()+", or remove the key")
		}
	default:
		if v, ok := d.value(k, e.value, path); ok {
			v.pos = e.value.pos
			s.values[e.name] = v
		}
	}
}

func (d *decoder) value(k *key, n *node, path string) (v value, ok bool) {
	switch k.typ {
	case aSection:
		v.section = d.section(n, k.keys, path, n.pos)
		return v, true
	case aSectionList:
		if n.kind != list {
			d.wrongType(n, path, k.expects())
			return v, false
		}
		if len(n.items) == 0 {
			d.add(n.pos, path, "the list is empty", k.doc)
		}
		for i, item := range n.items {
			v.sections = append(v.sections, d.section(item, k.keys, fmt.Sprintf("%s[%d]", path, i), item.pos))
		}
		return v, true
	case aSettings:
		v.raw = n
		if n.kind != mapping {
			d.wrongType(n, path, k.expects())
			return v, false
		}
		return v, true
	case aNameList:
		return d.names(k, n, path)
	case aLabels:
		return d.labels(k, n, path)
	case aDurationList:
		return d.durations(k, n, path)
	case aListOrSection:
		if n.kind == list { // short for the first key
			first := k.keys[0].name
			n = &node{kind: mapping, pos: n.pos, keys: []entry{{name: first, value: n, pos: n.pos}}}
			v.section = d.section(n, k.keys, path, n.pos)
			return v, v.section.has(first)
		}
		if n.kind != mapping {
			d.add(n.pos, path, "expected "+k.expects()+", not "+n.kind.String(), "write it in brackets: [1h, 24h]")
			return v, false
		}
		v.section = d.section(n, k.keys, path, n.pos)
		return v, true
	}
	if n.kind == list || n.kind == mapping || n.kind == null {
		d.wrongType(n, path, k.expects())
		return v, false
	}
	if strings.Contains(n.text, "${") {
		d.add(n.pos, path, "placeholders such as ${env:X} work only in the settings of sources and sinks", "write the value itself")
		return v, false
	}
	if err := k.scalar(n, &v); err != nil {
		d.add(n.pos, path, err.Error(), "")
		return v, false
	}
	return v, true
}

// scalar reads the value of a key that takes one.
func (k *key) scalar(n *node, v *value) error {
	shown := strconv.Quote(shorten(n.text))
	unparsed := func(err error) error { return fmt.Errorf("%s is not %s: %w", shown, article(k.typ), err) }
	switch k.typ {
	case aSize:
		size, err := ParseSize(n.text)
		if err != nil {
			return unparsed(err)
		}
		v.n = int64(size)
		return k.bounded(v.n)
	case aDuration:
		if n.kind == integer && n.text != "0" {
			return fmt.Errorf("%s has no unit: write it as %ss, %sm or %sh", shown, n.text, n.text, n.text)
		}
		duration, err := ParseDuration(n.text)
		if err != nil {
			return unparsed(err)
		}
		v.n = int64(duration)
		return k.bounded(v.n)
	case aCount:
		count, err := strconv.ParseInt(n.text, 10, 64)
		if n.kind != integer || err != nil {
			return fmt.Errorf("%s is not a whole number", shown)
		}
		v.n = count
		return k.bounded(v.n)
	case aTime:
		t, err := ParseTime(n.text)
		if err != nil {
			return unparsed(err)
		}
		v.time = t
		return nil
	case aSlice:
		return parseSlice(n, &v.slice)
	}
	if n.kind != text {
		return fmt.Errorf("%s is %s, not text: put it in quotes", shown, n.kind)
	}
	v.text = n.text
	switch k.typ {
	case aName:
		if !namePattern().MatchString(n.text) {
			return fmt.Errorf("%s is not a name: use a-z, 0-9, - and _, a letter or digit first, at most 63", shown)
		}
	case aPath:
		if n.text == "" || strings.ContainsRune(n.text, 0) {
			return fmt.Errorf("%s is not a path", shown)
		}
		if strings.HasPrefix(n.text, "~") {
			return fmt.Errorf("%s: ~ means nothing here: write the whole path, or one relative to this file", shown)
		}
	case aChoice:
		return k.chosen(n.text)
	}
	return nil
}

func (k *key) chosen(s string) error {
	for _, c := range k.choices {
		if c == s {
			return nil
		}
	}
	if k.name == "listen" {
		return fmt.Errorf("not in this version: an address for console and metrics %s; remove the key", laterFile)
	}
	return fmt.Errorf("unknown value %q; %s", shorten(s), strings.Replace(didYouMean(s, k.choices), "known:", "write one of:", 1))
}

func (k *key) bounded(n int64) error {
	if n >= k.min && n <= k.max {
		return nil
	}
	if n < 0 {
		return fmt.Errorf("must not be negative: allowed: %s", k.boundsText())
	}
	if n < k.min {
		return fmt.Errorf("too small: allowed: %s", k.boundsText())
	}
	return fmt.Errorf("too large: allowed: %s", k.boundsText())
}

// Bounds of an explicit slice: a smaller one costs more requests than it is worth, a longer one would cross a UTC day.
const (
	minSliceDuration = Duration(1e9)
	maxSliceDuration = Duration(day)
	minSliceBytes    = Size(1e6)
	maxSliceBytes    = Size(maxBytes)
)

// ParseSlice reads what a slice should hold: "auto", a duration or a size with its unit.
func ParseSlice(s string) (Slice, error) {
	var out Slice
	return out, parseSlice(&node{kind: text, text: s}, &out)
}

func parseSlice(n *node, out *Slice) error {
	shown := strconv.Quote(shorten(n.text))
	if n.text == "auto" {
		*out = Slice{Auto: true}
		return nil
	}
	if isDecimal(n.text) {
		return fmt.Errorf("%s has no unit: write it as a duration such as 1h or a size such as 500MB", shown)
	}
	if d, err := ParseDuration(n.text); err == nil {
		if d < minSliceDuration || d > maxSliceDuration {
			return fmt.Errorf("%s is outside of %s to %s", shown, minSliceDuration, maxSliceDuration)
		}
		out.Duration = d.std()
		return nil
	}
	size, err := ParseSize(n.text)
	if err != nil {
		return fmt.Errorf("%s is not a slice: write auto, a duration such as 1h, or a size such as 500MB", shown)
	}
	if size < minSliceBytes || size > maxSliceBytes {
		return fmt.Errorf("%s is outside of %s to %s", shown, minSliceBytes, maxSliceBytes)
	}
	out.Bytes = int64(size)
	return nil
}

func (d *decoder) names(k *key, n *node, path string) (v value, ok bool) {
	if n.kind != list {
		d.add(n.pos, path, "expected "+k.expects()+", not "+n.kind.String(), "write it in brackets: [name]")
		return v, false
	}
	if len(n.items) == 0 {
		d.add(n.pos, path, "the list is empty", "name at least one, or remove the key")
		return v, false
	}
	ok = true
	seen := map[string]bool{}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case item.kind != text:
			d.wrongType(item, at, "a name")
			ok = false
		case seen[item.text]:
			d.add(item.pos, at, strconv.Quote(shorten(item.text))+" is here twice", "")
			ok = false
		default:
			seen[item.text] = true
			v.names = append(v.names, located{item.text, item.pos})
		}
	}
	return v, ok
}

// durations decodes a list of durations and sorts it.
func (d *decoder) durations(k *key, n *node, path string) (v value, ok bool) {
	if n.kind != list {
		d.add(n.pos, path, "expected "+k.expects()+", not "+n.kind.String(), "write it in brackets: [1h, 24h]")
		return v, false
	}
	if len(n.items) == 0 || len(n.items) > maxDurations {
		d.add(n.pos, path, fmt.Sprintf("the list has %d durations, want 1 to %d", len(n.items), maxDurations), "write some, or remove the key")
		return v, false
	}
	ok = true
	one := key{typ: aDuration, min: k.min, max: k.max}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		x, fine := d.value(&one, item, at)
		switch {
		case !fine:
			ok = false
		case slices.Contains(v.list, x.n):
			d.add(item.pos, at, strconv.Quote(shorten(item.text))+" is here twice", "")
			ok = false
		default:
			v.list = append(v.list, x.n)
		}
	}
	slices.Sort(v.list)
	return v, ok
}

// labels decodes names with a text each.
func (d *decoder) labels(k *key, n *node, path string) (v value, ok bool) {
	if n.kind != mapping {
		d.wrongType(n, path, k.expects())
		return v, false
	}
	v.labels = map[string]string{}
	ok = true
	for _, e := range n.keys {
		at := joinPath(path, e.name)
		why, pos := "", e.value.pos
		switch {
		case !labelPattern().MatchString(e.name):
			why, pos = strconv.Quote(shorten(e.name))+" is not a label's name: use a-z, 0-9 and _, at most 63", e.pos
		case e.value.kind == list || e.value.kind == mapping || e.value.kind == null:
			why, pos = "a label is a text, not "+e.value.kind.String(), e.pos
		case e.value.kind != text:
			why = fmt.Sprintf("%s is %s, not text: put it in quotes", strconv.Quote(shorten(e.value.text)), e.value.kind)
		case strings.Contains(e.value.text, "${"):
			why = "placeholders such as ${env:X} work only in the settings of sources and sinks"
		case e.value.text == "" || len(e.value.text) > maxLabel:
			why = fmt.Sprintf("a label's text has 1 to %d bytes, not %d", maxLabel, len(e.value.text))
		case strings.ContainsFunc(e.value.text, unicode.IsControl):
			why = "a label's text holds no control characters"
		}
		if why != "" {
			d.add(pos, at, why, "")
			ok = false
			continue
		}
		v.labels[e.name] = e.value.text
	}
	return v, ok
}

// wrongType says what was expected and what is there. A null that wasn't readable has been reported already.
func (d *decoder) wrongType(n *node, path, want string) {
	if n.kind == null && n.text != "" && n.text != "~" && !strings.EqualFold(n.text, "null") {
		return
	}
	d.add(n.pos, path, "expected "+want+", not "+n.kind.String(), "")
}

// shorten bounds a value that a message quotes.
func shorten(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

func article(t valueType) string {
	switch t {
	case aSize:
		return "a size"
	case aDuration:
		return "a duration"
	case aTime:
		return "a time"
	}
	return "a value"
}

func findKey(keys []key, name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// keyNames lists the keys that may be used: what is refused is never proposed.
func keyNames(keys []key) []string {
	var names []string
	for i := range keys {
		if keys[i].later == "" {
			names = append(names, keys[i].name)
		}
	}
	return names
}

// Getters: a key that wasn't given, or was wrong, reads as its default.

func (s *section) has(name string) bool { _, ok := s.values[name]; return ok }

func (s *section) position(name string) Position {
	if v, ok := s.values[name]; ok {
		return v.pos
	}
	return s.pos
}

func (s *section) text(name string) string {
	if v, ok := s.values[name]; ok {
		return v.text
	}
	k := findKey(s.keys, name)
	return strings.Trim(k.def, `"`)
}

// number returns a size, duration or count.
func (s *section) number(name string) int64 {
	if v, ok := s.values[name]; ok {
		return v.n
	}
	var v value
	if k := findKey(s.keys, name); k.def != "" {
		kind := text
		if k.typ == aCount {
			kind = integer
		}
		if err := k.scalar(&node{kind: kind, text: k.def}, &v); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", name, err)) // a mistake in the table, which a test reads whole
		}
	}
	return v.n
}

// sub returns a section; one that wasn't given is empty.
func (s *section) sub(name string) *section {
	if v, ok := s.values[name]; ok && v.section != nil {
		return v.section
	}
	k := findKey(s.keys, name)
	return &section{path: joinPath(s.path, name), pos: s.pos, keys: k.keys}
}

// defaultNumber is the default of a size, duration or count.
func (k *key) defaultNumber() int64 {
	s := section{keys: []key{*k}}
	return s.number(k.name)
}
