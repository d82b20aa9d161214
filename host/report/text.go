package report

import (
	"io"
	"strings"
)

// WriteText writes the report as Markdown, which people read as it is.
func (r *Report) WriteText(w io.Writer) error {
	d := r.document()
	var b strings.Builder
	b.WriteString("# " + inline(d.Title) + "\n\n")
	writeFacts(&b, d.Facts)
	for _, s := range d.Sections {
		b.WriteString(strings.Repeat("#", s.Level) + " " + inline(s.Title) + "\n\n")
		writeFacts(&b, s.Facts)
		if s.Table != nil {
			writeTable(&b, s.Table)
		}
		for _, n := range s.Notes {
			b.WriteString(inline(n) + "\n\n")
		}
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func writeFacts(b *strings.Builder, facts []fact) {
	for _, f := range facts {
		b.WriteString("- " + inline(f.Name) + ": " + inline(f.Value) + "\n")
	}
	if len(facts) > 0 {
		b.WriteString("\n")
	}
}

func writeTable(b *strings.Builder, t *table) {
	row := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			b.WriteString(" " + inline(c) + " |")
		}
		b.WriteString("\n")
	}
	head := make([]string, len(t.Head))
	rule := "|"
	for i, h := range t.Head {
		name, number := strings.CutPrefix(h, ">")
		head[i] = name
		if number {
			rule += "---:|"
		} else {
			rule += "---|"
		}
	}
	row(head)
	b.WriteString(rule + "\n")
	for _, r := range t.Rows {
		row(r)
	}
	if t.Foot != nil {
		row(t.Foot)
	}
	b.WriteString("\n")
}

// marks are the characters that Markdown would take for its own.
var marks = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", `\*`, "[", `\[`, "]", `\]`, "`", "\\`")

func inline(text string) string { return marks.Replace(plain(text)) }
