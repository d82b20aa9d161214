package docs_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/elsa"
	"github.com/sluice-io/sluice/plugins/logentries"
	"github.com/sluice-io/sluice/plugins/rapid7download"
	"github.com/sluice-io/sluice/plugins/rapid7usage"
)

func sourceTypes() []plugins.Definition {
	return []plugins.Definition{rapid7download.Definition(), rapid7usage.Definition(), logentries.Definition(), elsa.Definition()}
}

// TestSourcePages holds what the pages of sources say of streams, columns and limits to the definitions. What a column means is people's
// word: it stays when the table is written anew, and a column without it is an error.
func TestSourcePages(t *testing.T) {
	for _, d := range sourceTypes() {
		doc := "docs/sources/" + d.Name + ".md"
		generated(t, doc, "streams", streamsTable(d))
		if len(d.Limits) > 0 {
			generated(t, doc, "limits", limitsTable(d))
		}
		for _, s := range d.Streams {
			name := "columns " + s.Name
			if !strings.Contains(read(t, doc), "<!-- "+name+": begin -->") {
				continue
			}
			meanings := meaningsOf(t, doc, name)
			var table strings.Builder
			table.WriteString("| column | type | value |\n|---|---|---|\n")
			for _, f := range s.Schema.Fields() {
				meaning := meanings[f.Name]
				if meaning == "" {
					t.Errorf("%s: nobody says what the column %s of %s is", doc, f.Name, s.Name)
				}
				fmt.Fprintf(&table, "| `%s` | %s | %s |\n", f.Name, typeOf(f.Type), meaning)
			}
			generated(t, doc, name, table.String())
		}
	}
}

// streamsTable lists streams. Columns of snapshots are named, since each is what its name says.
func streamsTable(d plugins.Definition) string {
	var b strings.Builder
	b.WriteString("| stream | what | read | columns |\n|---|---|---|---|\n")
	for _, s := range d.Streams {
		name := "`" + s.Name + "`"
		if s.Main && len(d.Streams) > 1 {
			name += " (main)"
		}
		how := "by time"
		switch {
		case s.Kind == plugins.Snapshot:
			how = "once a day, as it is then"
		case s.Granularity > 0:
			how = "by the " + map[string]string{"1d": "day", "1h": "hour"}[config.Duration(s.Granularity).String()]
		}
		if s.PartitionBy != "" {
			how += ", a partition for each `" + s.PartitionBy + "`"
		}
		var columns []string
		if s.Kind == plugins.Snapshot {
			for _, f := range s.Schema.Fields() {
				columns = append(columns, "`"+f.Name+"`")
			}
		}
		if columns == nil {
			columns = []string{"below"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, s.Description, how, strings.Join(columns, " "))
	}
	return b.String()
}

func limitsTable(d plugins.Definition) string {
	var b strings.Builder
	b.WriteString("| namespace | requests | bytes | in |\n|---|---|---|---|\n")
	figure := func(n uint64, text string) string {
		if n == 0 {
			return "–"
		}
		return text
	}
	for _, l := range d.Limits {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", l.Namespace, figure(l.Requests, fmt.Sprint(l.Requests)),
			figure(l.Bytes, config.Size(l.Bytes).String()), config.Duration(l.Window))
	}
	return b.String()
}

var columnName = regexp.MustCompile("`([a-z_0-9]+)`")

// meaningsOf reads the last cell of each row, by the columns that the first names.
func meaningsOf(t *testing.T, doc, name string) map[string]string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, doc), "<!-- "+name+": begin -->\n")
	table, _, found := strings.Cut(rest, "<!-- "+name+": end -->")
	if !found {
		t.Fatalf("%s: %q has no end", doc, name)
	}
	out := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.SplitN(strings.TrimSuffix(strings.TrimSpace(line), "|"), " | ", 3)
		if len(cells) != 3 {
			continue
		}
		for _, m := range columnName.FindAllStringSubmatch(cells[0], -1) {
			out[m[1]] = strings.TrimSpace(cells[2])
		}
	}
	return out
}

// typeOf writes a type as readers of Arrow know it.
func typeOf(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.TimestampType:
		return fmt.Sprintf("timestamp[%s, %s]", t.Unit, t.TimeZone)
	case *arrow.MapType:
		return fmt.Sprintf("map<%s, %s>", typeOf(t.KeyType()), typeOf(t.ItemType()))
	case *arrow.ListType:
		return fmt.Sprintf("list<%s>", typeOf(t.Elem()))
	}
	return t.String()
}
