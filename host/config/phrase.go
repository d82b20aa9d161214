package config

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// violation is one leaf of a validation error.
type violation struct {
	location []string
	kind     jsonschema.ErrorKind
}

func violations(err error) []violation {
	var e *jsonschema.ValidationError
	if !errors.As(err, &e) {
		return nil
	}
	return leaves(e)
}

// leaves flattens an error. Of alternatives only the one is kept that the user most likely meant: the other branches'
// complaints would only confuse.
func leaves(e *jsonschema.ValidationError) []violation {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		return alternatives(e)
	}
	if len(e.Causes) == 0 {
		return []violation{{e.InstanceLocation, e.ErrorKind}}
	}
	var out []violation
	for _, c := range e.Causes {
		out = append(out, leaves(c)...)
	}
	return out
}

func alternatives(e *jsonschema.ValidationError) []violation {
	var types kind.Type
	var best []violation
	for _, c := range e.Causes {
		branch := leaves(c)
		if len(branch) == 1 && slices.Equal(branch[0].location, e.InstanceLocation) {
			switch k := branch[0].kind.(type) {
			case *kind.Type: // not meant: the value is of another type
				types.Got, types.Want = k.Got, append(types.Want, k.Want...)
				continue
			case *kind.Enum:
				if isComposed(k.Got) { // not meant either: these are words
					continue
				}
			case *kind.Not: // says what mustn't be there and not what should
				branch[0].kind = &kind.OneOf{}
			}
		}
		if best == nil || len(branch) < len(best) {
			best = branch
		}
	}
	switch {
	case best != nil:
		return best
	case len(types.Want) > 0:
		return []violation{{e.InstanceLocation, &types}}
	}
	return []violation{{e.InstanceLocation, e.ErrorKind}}
}

// isComposed reports whether a value is a list or a group of keys.
func isComposed(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

var english = message.NewPrinter(language.English)

// report says one violation in words for people.
func (c *checker) report(v violation) {
	n, path := c.place(v.location)
	if n.kind == text && hasPlaceholder(n.text) && c.resolved == nil {
		// What the placeholder stands for is checked by Resolve; that it is text is known now.
		if t, ok := v.kind.(*kind.Type); !ok || slices.Contains(t.Want, "string") {
			return
		}
		c.add(n.pos, path, "a placeholder stands for text; expected "+typeNames(v.kind.(*kind.Type).Want), "write the value itself")
		return
	}
	shown, quotable := "the value", c.schema.mayShow(v.location) && !c.resolved[path] && !mayHoldPassword(n.text)
	if quotable && n.kind != list && n.kind != mapping {
		shown = strconv.Quote(shorten(n.text))
		if n.kind != text {
			shown = n.text
		}
	}
	about := c.schema.describe(v.location)
	switch k := v.kind.(type) {
	case *kind.AdditionalProperties, *kind.FalseSchema:
		return // unknownKeys has reported it
	case *kind.Required:
		for _, name := range k.Missing {
			if below := joinPath(path, name); !c.omitted[below] {
				c.add(n.pos, below, "this key is missing", c.schema.describe(append(slices.Clone(v.location), name)))
			}
		}
	case *kind.DependentRequired:
		c.add(n.pos, path, fmt.Sprintf("%q needs %s, too", k.Prop, andList(quoted(k.Missing))), "")
	case *kind.Type:
		if n.kind == null && c.omitted[path] {
			return
		}
		hint := about
		if slices.Contains(k.Want, "string") && n.kind != list && n.kind != mapping && n.kind != null && !c.schema.isShaped(v.location) {
			hint = "put it in quotes"
		}
		c.add(n.pos, path, "expected "+typeNames(k.Want)+", not "+n.kind.String(), hint)
	case *kind.Enum:
		c.choice(n, path, shown, quotable, k.Want)
	case *kind.Const:
		c.choice(n, path, shown, quotable, []any{k.Want})
	case *kind.Format:
		message := shown + " is not " + formatName(k.Want)
		if strings.HasPrefix(k.Want, "sluice-") && k.Err != nil {
			message += ": " + k.Err.Error() // our own parsers quote nothing
		}
		c.add(n.pos, path, message, about)
	case *kind.Pattern:
		c.add(n.pos, path, shown+" has a form that is not allowed here", about)
	case *kind.Minimum:
		c.add(n.pos, path, "too small: at least "+ratio(k.Want), about)
	case *kind.Maximum:
		c.add(n.pos, path, "too large: at most "+ratio(k.Want), about)
	case *kind.ExclusiveMinimum:
		c.add(n.pos, path, "too small: more than "+ratio(k.Want), about)
	case *kind.ExclusiveMaximum:
		c.add(n.pos, path, "too large: less than "+ratio(k.Want), about)
	case *kind.MinLength:
		if k.Got == 0 {
			c.add(n.pos, path, "the text is empty", about)
			return
		}
		c.add(n.pos, path, fmt.Sprintf("too short: at least %d characters", k.Want), about)
	case *kind.MaxLength:
		c.add(n.pos, path, fmt.Sprintf("too long: at most %d characters", k.Want), about)
	case *kind.MinItems:
		if k.Got == 0 {
			c.add(n.pos, path, "the list is empty", about)
			return
		}
		c.add(n.pos, path, fmt.Sprintf("too few entries: at least %d", k.Want), about)
	case *kind.MaxItems:
		c.add(n.pos, path, fmt.Sprintf("too many entries: at most %d", k.Want), about)
	case *kind.UniqueItems:
		c.add(n.pos, path, fmt.Sprintf("entries %d and %d are the same", k.Duplicates[0]+1, k.Duplicates[1]+1), "")
	case *kind.OneOf:
		hint := about
		if ways := c.schema.ways(v.location); len(ways) > 0 {
			hint = "give either " + orList(ways)
		}
		c.add(n.pos, path, "keys that don't go together", hint)
	case *kind.Not:
		c.add(n.pos, path, "this is not allowed here", about)
	default:
		message := "not allowed by the schema"
		if quotable {
			message = v.kind.LocalizedString(english)
		}
		c.add(n.pos, path, message, about)
	}
}

// choice reports a value that isn't one of those allowed.
func (c *checker) choice(n *node, path, shown string, quotable bool, want []any) {
	if names := texts(want); len(names) == len(want) {
		if !quotable {
			c.add(n.pos, path, "the value is not one of those allowed", didYouMean("", names))
			return
		}
		c.add(n.pos, path, "unknown value "+shown, didYouMean(n.text, names))
		return
	}
	allowed := make([]string, len(want))
	for i, w := range want {
		allowed[i] = fmt.Sprint(w)
	}
	c.add(n.pos, path, shown+" is not allowed", "write "+orList(allowed))
}

func typeNames(types []string) string {
	words := map[string]string{
		"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
		"array": "a list", "object": "a group of keys", "null": "nothing",
	}
	var out []string
	for _, t := range types {
		if w := words[t]; !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return orList(out)
}

func formatName(format string) string {
	names := map[string]string{
		FormatSize: "a size", FormatDuration: "a duration", FormatTime: "a time",
		"uri": "a URL", "uuid": "a UUID", "date": "a date", "date-time": "a time", "regex": "a regular expression",
		"hostname": "a host name", "ipv4": "an IPv4 address", "ipv6": "an IPv6 address",
	}
	if name := names[format]; name != "" {
		return name
	}
	return "a valid " + format
}

func ratio(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
