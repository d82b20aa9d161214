package views

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Engine is what the SQL is for.
type Engine string

// The engines.
const (
	DuckDB     Engine = "duckdb"
	Spark      Engine = "spark"
	Athena     Engine = "athena"
	ClickHouse Engine = "clickhouse"
)

// Engines lists the engines.
func Engines() []Engine { return []Engine{DuckDB, Spark, Athena, ClickHouse} }

// View is one stream in one sink.
type View struct {
	Name   string // of the view or table
	About  string // a line for the comment above it
	Stream sinks.Stream
	Files  sinks.Files
}

// SQL returns the statements that make a view or table of what the sink holds of the stream.
func SQL(e Engine, v View) (string, error) {
	t, err := v.table()
	if err != nil {
		return "", err
	}
	var sql string
	switch e {
	case DuckDB:
		sql, err = t.duckdb()
	case Spark:
		sql, err = t.spark()
	case Athena:
		sql, err = t.athena()
	case ClickHouse:
		sql, err = t.clickhouse()
	default:
		err = fmt.Errorf("no engine is called %q", e)
	}
	if err != nil {
		return "", err
	}
	return t.comment(e) + sql, nil
}

// table is a view in the shape in which it is written.
type table struct {
	View
	files      sinks.StreamFiles
	partitions []partition
	hive       bool // every folder with a placeholder is NAME=VALUE, so that engines which know partitions find them
}

// partition is a column that a folder tells.
type partition struct {
	name   string
	date   bool
	folder int // its place among the folders
}

var errNoStream = errors.New("the sink isn't given the stream")

func (v View) table() (*table, error) {
	files, ok := v.Files.Streams[v.Stream.Name]
	if !ok {
		return nil, errNoStream
	}
	t := &table{View: v, files: files, hive: true}
	for i, f := range files.Folders {
		name, value, ok := strings.Cut(f, "=")
		switch {
		case ok && t.hides(name, value):
			t.hive = false
		case ok && !strings.Contains(name, "{") && name != "":
			t.partitions = append(t.partitions, partition{name, value == "{date}", i})
		case strings.Contains(f, "{"):
			t.hive = false
		}
	}
	if !t.hive {
		t.partitions = nil // a folder between them would be taken for one
	}
	return t, nil
}

// hides reports whether a folder has the name of a column and tells something else: a reader that takes it for the column loses what the
// files hold.
func (t *table) hides(name, value string) bool {
	same := name == t.Stream.PartitionBy && value == "{partition}" || name == flow.ColLogName && value == "{log_name}"
	return !same && t.Files.Format != "raw" && t.Stream.Schema.HasField(name)
}

// isPartition reports whether a folder tells a column.
func (t *table) isPartition(column string) bool {
	return slices.ContainsFunc(t.partitions, func(p partition) bool { return p.name == column })
}

// columns are the stream's that the files hold.
func (t *table) columns() []arrow.Field {
	var out []arrow.Field
	if t.Files.Format == "raw" {
		return []arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}
	}
	for _, f := range t.Stream.Schema.Fields() {
		if !slices.Contains(t.files.Omitted, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

// glob returns the pattern of all files' names below the root: literal folders as they are, any for those with placeholders, and the
// ends of file names whatever their compression. escape makes a literal safe for a pattern; nil: it can't be made so, and is refused.
func (t *table) glob(escape func(string) (string, error)) (string, error) {
	root, err := escape(t.Files.Root)
	if err != nil {
		return "", err
	}
	parts := []string{strings.TrimSuffix(root, "/")}
	for _, f := range t.files.Folders {
		text := ""
		for rest := f; rest != ""; {
			before, after, found := strings.Cut(rest, "{")
			literal, err := escape(before)
			if err != nil {
				return "", err
			}
			text += literal
			if !found {
				break
			}
			text += "*"
			_, rest, _ = strings.Cut(after, "}")
		}
		parts = append(parts, text)
	}
	end := t.extension()
	if t.compressible() {
		end += "*"
	}
	return strings.Join(append(parts, "*"+end), "/"), nil
}

// extension is the end of file names without a compression's.
func (t *table) extension() string {
	return strings.TrimSuffix(strings.TrimSuffix(t.Files.Extension, ".gz"), ".zst")
}

func (t *table) compressed() bool { return t.Files.Extension != t.extension() }

// compressible reports whether files are compressed as a whole, which may change from file to file.
func (t *table) compressible() bool {
	return slices.Contains([]string{"raw", "ndjson", "csv"}, t.Files.Format)
}

// base is where the folders begin that differ from file to file, and those that do.
func (t *table) base() (location string, rest []string) {
	i := slices.IndexFunc(t.files.Folders, func(f string) bool { return strings.Contains(f, "{") })
	if i < 0 {
		i = len(t.files.Folders)
	}
	return strings.Join(append([]string{strings.TrimSuffix(t.Files.Root, "/")}, t.files.Folders[:i]...), "/"), t.files.Folders[i:]
}

// below are the partitions in folders that differ from file to file.
func (t *table) below() []partition {
	_, rest := t.base()
	first := len(t.files.Folders) - len(rest)
	return slices.DeleteFunc(slices.Clone(t.partitions), func(p partition) bool { return p.folder < first })
}

func (t *table) comment(e Engine) string {
	lines := []string{t.About}
	if t.Files.Unsettled {
		lines = append(lines, "Files of slices that aren't committed yet may lie among the others while a run works: the commit log below",
			"_sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.")
	}
	if e == Athena || e == Spark {
		if len(t.below()) > 0 {
			lines = append(lines, "Run MSCK REPAIR TABLE again when days or logs have come.")
		}
	}
	text := ""
	for _, l := range lines {
		text += "-- " + strings.Map(func(c rune) rune {
			if c < ' ' {
				return ' '
			}
			return c
		}, l) + "\n"
	}
	return text
}

// cant is the error of what an engine can't read.
func (t *table) cant(e Engine, why string) error {
	return fmt.Errorf("%s can't read the format %s of this sink: %s", e, t.Files.Format, why)
}
