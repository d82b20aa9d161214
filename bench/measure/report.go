package main

import (
	"bytes"
	"os"
	"strings"
)

// report is the whole output.
type report struct {
	notes  string
	tables []table
	fixed  fixedCosts
	micro  string // the table of micro-benchmarks, in Markdown
}

// write writes the report to a file, or to stdout if name is empty.
func (r report) write(name string) error {
	var w bytes.Buffer
	if r.notes != "" {
		w.WriteString(strings.TrimRight(r.notes, "\n") + "\n\n")
	}
	for i, t := range r.tables {
		if i == 0 && r.notes != "" {
			t.writeGoals(&w)
		}
		if i > 0 {
			w.WriteByte('\n')
		}
		t.write(&w)
	}
	if len(r.fixed.whole) > 0 {
		w.WriteByte('\n')
		r.fixed.write(&w)
	}
	if r.micro != "" {
		w.WriteString("\n" + r.micro)
	}
	if name == "" {
		_, err := os.Stdout.Write(w.Bytes())
		return err
	}
	return os.WriteFile(name, w.Bytes(), 0o666)
}
