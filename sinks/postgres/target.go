package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

// maxName is the most bytes that PostgreSQL keeps of a name; it cuts longer ones silently.
const maxName = 63

// tableName is the setting table: a schema and a table, both of which may be templates.
type tableName struct {
	whole, schema, table target.Template
}

// parseTable cuts a template at its point outside of braces; what stands for a placeholder may have points.
func parseTable(text string) (tableName, error) {
	whole, err := target.Parse(text)
	if err != nil {
		return tableName{}, fmt.Errorf("table: %w", err)
	}
	depth, at := 0, -1
	for i, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == '.' && depth == 0 && at >= 0:
			return tableName{}, fmt.Errorf("table: %q has more than one point: write SCHEMA.TABLE", text)
		case c == '.' && depth == 0:
			at = i
		}
	}
	schema := "public"
	if at >= 0 {
		schema, text = text[:at], text[at+1:]
	}
	if schema == "" || text == "" {
		return tableName{}, fmt.Errorf("table: %q: write SCHEMA.TABLE", whole)
	}
	n := tableName{whole: whole}
	n.schema, _ = target.Parse(schema) // parts of what was parsed
	n.table, _ = target.Parse(text)
	return n, nil
}

// fixed says whether the table's name is known before a slice is there, but for the stream.
func (n tableName) fixed() bool {
	for _, name := range []string{"partition", "log_name", "date", "hour"} {
		if n.whole.Uses(name) {
			return false
		}
	}
	return true
}

// of returns the table for a slice.
func (n tableName) of(v target.Values) (pgx.Identifier, error) {
	var out pgx.Identifier
	for _, t := range []target.Template{n.schema, n.table} {
		name, err := t.Fill(v, target.Plain)
		if err == nil {
			err = checkName("table", name)
		}
		if err != nil {
			return nil, fault.New(fault.Config, "name the table", "see `table` of the sink's settings", err)
		}
		out = append(out, name)
	}
	return out, nil
}

// checkName refuses what can't be a name, or would be cut.
func checkName(key, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s: a name is empty", key)
	case len(name) > maxName:
		return fmt.Errorf("%s: the name %q has %d bytes, PostgreSQL takes %d", key, name, len(name), maxName)
	case strings.ContainsRune(name, 0):
		return errors.New(key + ": a name has a NUL")
	}
	return nil
}

// place is the template with everything filled in that is alike in all slices: what the sink's owner is known by.
func (n tableName) place(c sinks.Config) (string, error) {
	keep := func(name string) string { return "{" + name + "}" }
	return n.whole.Fill(target.Values{
		Pipeline: c.Pipeline, Source: c.Source, Labels: c.Labels, Stream: keep("stream"), Partition: keep("partition"), PartitionBy: keep("partition_by"),
		LogName: keep("log_name"), Date: keep("date"), Hour: keep("hour"),
	}, target.Plain)
}
