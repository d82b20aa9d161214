// Package target is the templates by which sinks name what they write to: a path, a topic, an index, a table.
//
//	t, err := target.Parse("logs-{stream}-{labels.tenant}")
//	topic, err := t.Fill(target.Of(config, slice), target.Plain)
//
// What a placeholder stands for is one value for a whole slice, so a slice has one target.
package target

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// labelPrefix begins the name of a placeholder for a pipeline's label.
const labelPrefix = "labels."

// names are the placeholders that every template knows, in the order of the documentation.
var names = []string{"pipeline", "source", "stream", "partition", "partition_by", "log_name", "date", "hour"}

// Names returns the placeholders that every template knows, without braces; labels come beside them.
func Names() []string { return slices.Clone(names) }

// Template is a parsed template; it may be used concurrently. The zero Template is an empty text.
type Template struct {
	text   string
	pieces []piece
}

// piece is literal text or a placeholder's name.
type piece struct {
	literal string
	name    string
}

// Parse reads a template. A brace is always a placeholder's: no target needs one.
func Parse(text string) (Template, error) {
	t := Template{text: text}
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			t.pieces = append(t.pieces, piece{literal: rest})
			break
		}
		if open > 0 {
			t.pieces = append(t.pieces, piece{literal: rest[:open]})
		}
		end := strings.IndexAny(rest[open+1:], "{}")
		if rest[open] == '}' || end < 0 || rest[open+1+end] == '{' {
			return t, fmt.Errorf("%q: a brace is not closed or not opened", text)
		}
		name := rest[open+1 : open+1+end]
		if label, ok := strings.CutPrefix(name, labelPrefix); !slices.Contains(names, name) && (!ok || label == "") {
			return t, fmt.Errorf("%q: no placeholder is called {%s}; there are {%s} and {labels.NAME}", text, name, strings.Join(names, "}, {"))
		}
		t.pieces = append(t.pieces, piece{name: name})
		rest = rest[open+end+2:]
	}
	return t, nil
}

// String returns the template as it was written.
func (t Template) String() string { return t.text }

// Uses reports whether the template has a placeholder of that name: "stream", "labels.tenant".
func (t Template) Uses(name string) bool {
	return slices.ContainsFunc(t.pieces, func(p piece) bool { return p.name == name })
}

// Values are what placeholders stand for in one slice.
type Values struct {
	Pipeline, Source, Stream, Partition, PartitionBy string
	LogName                                          string // empty until the slice's first batch tells it, or when the vendor gives none
	Date, Hour                                       string // UTC, of the slice's begin: 2006-01-02 and 15
	Labels                                           map[string]string
}

// Of returns the values of a slice but for LogName, which stands in its records.
func Of(c sinks.Config, s flow.Slice) Values {
	from := s.From.UTC()
	v := Values{
		Pipeline: c.Pipeline, Source: c.Source, Stream: s.Stream, Partition: s.Key,
		Date: from.Format("2006-01-02"), Hour: from.Format("15"), Labels: c.Labels,
	}
	for _, st := range c.Streams {
		if st.Name == s.Stream {
			v.PartitionBy = st.PartitionBy
		}
	}
	return v
}

func (v Values) of(name string) (string, error) {
	switch name {
	case "pipeline":
		return v.Pipeline, nil
	case "source":
		return v.Source, nil
	case "stream":
		return v.Stream, nil
	case "partition":
		return v.Partition, nil
	case "partition_by":
		return v.PartitionBy, nil
	case "log_name":
		return v.LogName, nil
	case "date":
		return v.Date, nil
	case "hour":
		return v.Hour, nil
	}
	label := strings.TrimPrefix(name, labelPrefix)
	value, ok := v.Labels[label]
	if !ok {
		return "", unknownLabel(label, v.Labels)
	}
	return value, nil
}

func unknownLabel(label string, have map[string]string) error {
	if len(have) == 0 {
		return fmt.Errorf("{labels.%s}: the pipeline has no labels; add `labels: {%s: ...}` to it", label, label)
	}
	return fmt.Errorf("{labels.%s}: the pipeline has no such label; it has %s", label, strings.Join(slices.Sorted(maps.Keys(have)), ", "))
}

// Plain is the escape of a target that takes every character.
func Plain(value string) string { return value }

// Fill returns the target: escape is applied to each value, not to the text around it.
func (t Template) Fill(v Values, escape func(value string) string) (string, error) {
	var out strings.Builder
	for _, p := range t.pieces {
		if p.name == "" {
			out.WriteString(p.literal)
			continue
		}
		value, err := v.of(p.name)
		if err != nil {
			return "", err
		}
		out.WriteString(escape(value))
	}
	return out.String(), nil
}

// Check reports what can be known before a slice is there: labels that the pipeline doesn't have, and two streams of the sink
// that would be written to one target. key is the setting's name.
func Check(c sinks.Config, key string, t Template) error {
	var errs []error
	for _, p := range t.pieces {
		if label, ok := strings.CutPrefix(p.name, labelPrefix); ok {
			if _, ok := c.Labels[label]; !ok {
				errs = append(errs, fmt.Errorf("%s: %w", key, unknownLabel(label, c.Labels)))
			}
		}
	}
	return errors.Join(append(errs, Separate(c, key, t))...)
}

// CheckText is Check for a template that two streams may well fill alike: what it names is no target of rows that differ.
func CheckText(c sinks.Config, key, text string) error {
	t, err := Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	c.Streams = nil
	return Check(c, key, t)
}

// Separate refuses a template that names one target for two streams, whose records have different columns.
func Separate(c sinks.Config, key string, t Template) error {
	if len(c.Streams) < 2 || t.Uses("stream") {
		return nil
	}
	all := make([]string, len(c.Streams))
	for i, s := range c.Streams {
		all[i] = s.Name
	}
	return fmt.Errorf("%s: %q is one target for the streams %s: put {stream} into it, or give each stream a sink with `streams: [NAME]`",
		key, t.text, strings.Join(all, ", "))
}
