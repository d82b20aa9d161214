package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds on a file, so that no file is costly to read: aliases can make a small one huge.
const (
	maxFileBytes = 4 << 20
	maxNodes     = 200_000
	maxDepth     = 64
)

// node is a YAML value with aliases and merges resolved. Its position is where it was written, for an aliased value at
// its anchor.
type node struct {
	kind  nodeKind
	text  string // of a scalar, as written less quotes
	pos   Position
	keys  []entry // of a mapping, in the file's order, each key once
	items []*node // of a list
}

type entry struct {
	name  string
	pos   Position // of the key
	value *node
}

type nodeKind uint8

const (
	null nodeKind = iota + 1
	text          // quoted or plain; timestamps too: what a date means is the key's matter
	integer
	number
	boolean
	list
	mapping
)

// String names the kind as messages do.
func (k nodeKind) String() string {
	switch k {
	case null:
		return "nothing"
	case text:
		return "text"
	case integer:
		return "a whole number"
	case number:
		return "a number"
	case boolean:
		return "true or false"
	case list:
		return "a list"
	case mapping:
		return "a group of keys"
	}
	return "kind " + strconv.Itoa(int(k))
}

// get returns the value of a key, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, e := range n.keys {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// treeBuilder turns yaml.v3's nodes into ours and collects what is wrong with them.
type treeBuilder struct {
	file     string
	problems Problems
	nodes    int
	open     map[*yaml.Node]bool // aliases that are being followed: an anchor may contain itself
	full     bool                // a bound was met, reported once
}

// parseTree reads one YAML document. The node is nil if there is no usable one; then there are problems.
func parseTree(file string, data []byte) (*node, Problems) {
	b := &treeBuilder{file: file, open: map[*yaml.Node]bool{}}
	if len(data) > maxFileBytes {
		b.add(Position{}, "", fmt.Sprintf("the file is larger than %s", Size(maxFileBytes)), "is this the right file?")
		return nil, b.problems
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		b.add(Position{}, "", "the file is empty", "`sluice init` writes one with comments")
		return nil, b.problems
	} else if err != nil {
		b.syntax(err)
		return nil, b.problems
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		b.add(Position{second.Line, second.Column}, "", "a second document begins here", "remove the line `---`, or make it a file of its own")
	} else if !errors.Is(err, io.EOF) {
		b.syntax(err)
		return nil, b.problems
	}
	if len(doc.Content) != 1 {
		b.add(Position{}, "", "the file is empty", "`sluice init` writes one with comments")
		return nil, b.problems
	}
	return b.build(doc.Content[0], "", 0), b.problems
}

func (b *treeBuilder) add(pos Position, path, message, hint string) {
	if len(b.problems) >= maxProblems {
		return
	}
	b.problems = append(b.problems, newProblem(b.file, pos, path, message, hint))
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(?s:(.*))$`)

// syntax reports yaml.v3's error, which has a line but no column. It quotes an anchor's or tag's name only without its
// text: an unquoted secret that begins with * or ! would be one.
func (b *treeBuilder) syntax(err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(m[1])
	message, hint := m[2], ""
	switch {
	case strings.Contains(message, "anchor"):
		message, hint = "an alias (*name) without its anchor (&name)", "put text that begins with * or & in quotes"
	case strings.Contains(message, "tag"):
		message, hint = "a tag (!name) that can't be read", "put text that begins with ! in quotes"
	case strings.Contains(message, "cannot start any token"):
		hint = "indent with spaces, and put text that begins with @, ` or % in quotes"
	case strings.Contains(message, "mapping values are not allowed"):
		hint = "check the indentation, and put text with a colon and a space in quotes"
	}
	b.add(Position{Line: max(line, 1), Column: 1}, "", "not YAML: "+message, hint)
}

// build returns a usable node always: where a value can't be read there is a null that was reported.
func (b *treeBuilder) build(y *yaml.Node, path string, depth int) *node {
	n := &node{kind: null, pos: Position{y.Line, y.Column}}
	b.nodes++
	if b.nodes > maxNodes || depth > maxDepth {
		if !b.full {
			b.full = true
			b.add(n.pos, "", fmt.Sprintf("more than %d values or %d levels", maxNodes, maxDepth), "use fewer aliases")
		}
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		if b.open[y.Alias] {
			b.add(n.pos, path, "an alias of a value that contains it", "")
			return n
		}
		b.open[y.Alias] = true
		defer delete(b.open, y.Alias)
		return b.build(y.Alias, path, depth+1)
	case yaml.MappingNode:
		n.kind = mapping
		b.mapping(n, y, path, depth)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, b.build(item, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
	case yaml.ScalarNode:
		b.scalar(n, y, path)
	default:
		b.add(n.pos, path, "not a value", "")
	}
	return n
}

func (b *treeBuilder) mapping(n *node, y *yaml.Node, path string, depth int) {
	var merged []*yaml.Node
	lines := map[string]int{} // of the keys so far: a search for each would be slow in a mapping of many
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		pos := Position{y.Content[i].Line, y.Content[i].Column}
		if k.Kind != yaml.ScalarNode {
			b.add(pos, path, "a key must be text", "put ${...} inside {...} in quotes")
			continue
		}
		if line, ok := lines[k.Value]; ok {
			b.add(pos, joinPath(path, k.Value), "this key is here twice", fmt.Sprintf("the first is in line %d", line))
			continue
		}
		lines[k.Value] = pos.Line
		n.keys = append(n.keys, entry{name: k.Value, pos: pos, value: b.build(v, joinPath(path, k.Value), depth+1)})
	}
	// What is written in the mapping itself wins over what is merged into it, and earlier merges over later ones.
	for _, v := range merged {
		sources := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			sources = v.Content
		}
		for _, s := range sources {
			m := b.build(s, path, depth+1)
			if m.kind != mapping {
				b.add(Position{s.Line, s.Column}, path, "<< takes a group of keys or a list of them", "")
				continue
			}
			for _, e := range m.keys {
				if _, ok := lines[e.name]; !ok {
					lines[e.name] = e.pos.Line
					n.keys = append(n.keys, e)
				}
			}
		}
	}
}

func (b *treeBuilder) scalar(n *node, y *yaml.Node, path string) {
	n.text = y.Value
	switch y.ShortTag() {
	case "!!null":
		n.kind = null
		if y.Anchor != "" && y.Value == "" {
			b.add(n.pos, path, "an anchor (&name) without a value", "put text that begins with & in quotes")
		}
	case "!!str", "!!timestamp":
		n.kind = text
	case "!!bool":
		n.kind = boolean
		n.text = strings.ToLower(y.Value)
	case "!!int":
		n.kind = integer
		canonical, ok := new(big.Int), false
		if len(y.Value) <= 100 {
			canonical, ok = canonical.SetString(goInteger(y.Value), 0)
		}
		if !ok {
			b.add(n.pos, path, "a number that can't be read", "put text in quotes")
			n.kind = null
			return
		}
		n.text = canonical.String()
	case "!!float":
		n.kind = number
		f, err := strconv.ParseFloat(strings.ReplaceAll(y.Value, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			b.add(n.pos, path, "a number that can't be read", "put text in quotes")
			n.kind = null
			return
		}
		n.text = strconv.FormatFloat(f, 'g', -1, 64)
	default:
		b.add(n.pos, path, "a tag (!name) that means nothing here", "put text that begins with ! in quotes")
	}
}

// goInteger spells a YAML 1.1 integer as Go does: a leading 0 alone means octal in both.
func goInteger(s string) string { return strings.TrimPrefix(strings.ReplaceAll(s, "_", ""), "+") }
