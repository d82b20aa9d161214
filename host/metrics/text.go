package metrics

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Set is a collection of families, each a metric with its samples. The zero Set is empty and ready to use. Not safe for concurrent use.
type Set struct {
	families []*Family
}

// Family is one metric.
type Family struct {
	name, help, kind string
	samples          []sample
}

type sample struct {
	labels []string // name, value, ...
	value  float64
}

// Counter adds a metric that only grows; its name ends in _total. A name that was added before returns that one.
func (s *Set) Counter(name, help string) *Family { return s.family(name, help, "counter") }

// Gauge adds a metric that goes up and down.
func (s *Set) Gauge(name, help string) *Family { return s.family(name, help, "gauge") }

func (s *Set) family(name, help, kind string) *Family {
	for _, f := range s.families {
		if f.name == name {
			return f
		}
	}
	f := &Family{name: name, help: help, kind: kind}
	s.families = append(s.families, f)
	return f
}

// Add adds a sample; labels are names and values in turn. Two samples with the same labels make the text invalid.
func (f *Family) Add(value float64, labels ...string) {
	if len(labels)%2 != 0 {
		panic("metrics: a label without a value")
	}
	f.samples = append(f.samples, sample{slices.Clone(labels), value})
}

// WriteTo writes the text format, version 0.0.4: families in the order of their names, samples in the order in which they were added.
// Families without samples are left out.
func (s *Set) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	sorted := slices.Clone(s.families)
	slices.SortFunc(sorted, func(a, b *Family) int { return strings.Compare(a.name, b.name) })
	for _, f := range sorted {
		f.write(&b)
	}
	return b.WriteTo(w)
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (f *Family) write(b *bytes.Buffer) {
	if len(f.samples) == 0 {
		return
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.name, escapeHelp.Replace(f.help), f.name, f.kind)
	for _, s := range f.samples {
		b.WriteString(f.name)
		for i := 0; i < len(s.labels); i += 2 {
			b.WriteByte("{,"[min(i, 1)])
			// What isn't UTF-8 would make the whole file unreadable.
			fmt.Fprintf(b, `%s="%s"`, s.labels[i], escapeLabel.Replace(strings.ToValidUTF8(s.labels[i+1], "\uFFFD")))
		}
		if len(s.labels) > 0 {
			b.WriteByte('}')
		}
		b.WriteByte(' ')
		b.WriteString(number(s.value))
		b.WriteByte('\n')
	}
}

func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
