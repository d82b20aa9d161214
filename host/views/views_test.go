package views

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/sinks"
)

var update = flag.Bool("update", false, "write golden files")

func logs() sinks.Stream {
	at := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	text := arrow.BinaryTypes.String
	return sinks.Stream{Name: "events", PartitionBy: "log_id", Schema: arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: at, Nullable: true},
		{Name: "received_from", Type: at},
		{Name: "severity_number", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "body", Type: text},
		{Name: "log_id", Type: text},
		{Name: "log_name", Type: text, Nullable: true},
		{Name: "attributes", Type: arrow.MapOf(text, text), Nullable: true},
		{Name: "labels", Type: arrow.ListOf(text), Nullable: true},
		{Name: "sequence", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "odd `name\" it's", Type: text, Nullable: true},
		{Name: "body_raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)}
}

var extensions = map[string]string{"raw": ".log", "ndjson": ".ndjson.zst", "csv": ".csv.gz", "parquet": ".parquet", "arrow": ".arrow", "arrow-stream": ".arrows"}

const hive, flat = "stream=events/log_id={partition}/date={date}", "{partition}/{date}"

func view(format, layout string, change func(*sinks.Files)) View {
	f := sinks.Files{Place: sinks.OnDisk, Root: "/data/it's a lake", Format: format, Extension: extensions[format]}
	one := sinks.StreamFiles{Folders: strings.Split(layout, "/")}
	if layout == hive && (format == "parquet" || strings.HasPrefix(format, "arrow")) {
		one.Omitted = []string{"log_id"}
	}
	f.Streams = map[string]sinks.StreamFiles{"events": one}
	if change != nil {
		change(&f)
	}
	return View{Name: "prod_events", About: "Stream events of pipeline prod,\nas sink lake has it.", Stream: logs(), Files: f}
}

func onS3(f *sinks.Files) {
	f.Place, f.Root, f.Region, f.Unsettled = sinks.OnS3, "acme-logs/prod", "eu-central-1", true
}

func onMinIO(f *sinks.Files) {
	onS3(f)
	f.Endpoint, f.PathStyle, f.Region = "http://minio:9000", true, ""
}

// cases are what is printed, or refused with words.
func cases() map[string]View {
	out := map[string]View{
		"s3-parquet": view("parquet", hive, onS3), "s3-ndjson": view("ndjson", hive, onS3), "minio-parquet": view("parquet", hive, onMinIO),
		"s3-raw": view("raw", hive, onS3), "s3-flat-parquet": view("parquet", flat, onS3),
		"gcs-parquet": view("parquet", hive, func(f *sinks.Files) { f.Place, f.Root = sinks.OnGCS, "acme/x" }),
		"azure-parquet": view("parquet", hive, func(f *sinks.Files) {
			f.Place, f.Root, f.Endpoint = sinks.OnAzure, "logs/x", "https://acme.blob.core.windows.net"
		}),
		"nanos-parquet": view("parquet", hive, func(f *sinks.Files) { f.Nanos = true }),
		"plain-raw":     view("raw", hive, nil),
		"zip-raw":       view("raw", hive, func(f *sinks.Files) { f.Extension = ".log.zst" }),
		"hour-ndjson":   view("ndjson", "day={date}/events/hour={hour}", nil),
		"pattern":       view("ndjson", hive, func(f *sinks.Files) { f.Root = "/data/a[1]*?{x}" }),
	}
	for format := range extensions {
		out["disk-"+format] = view(format, hive, nil)
		out["flat-"+format] = view(format, flat, nil)
	}
	return out
}

func TestSQL(t *testing.T) {
	for name, v := range cases() {
		for _, e := range Engines() {
			got, err := SQL(e, v)
			if err != nil {
				got = "error: " + err.Error() + "\n"
			}
			path := filepath.Join("testdata", name+"."+string(e)+".sql")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-want +got):\n%s", path, d)
			}
		}
	}
}

// TestSQLIsParsed has the dialects of a real parser read what is printed, and compares the columns that it finds.
func TestSQLIsParsed(t *testing.T) {
	python := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	dir := t.TempDir()
	n := 0
	for name, v := range cases() {
		for _, e := range Engines() {
			got, err := SQL(e, v)
			if err != nil {
				continue
			}
			n++
			if err := os.WriteFile(filepath.Join(dir, name+"."+string(e)+".sql"), []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 30 {
		t.Fatalf("%d statements, want more", n)
	}
	out, err := exec.Command(python, "-c", parse, dir, fmt.Sprint(n)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

const parse = `
import glob, logging, os, sys
import sqlglot
from sqlglot import exp
logging.disable(logging.WARNING)
every = {"timestamp", "received_from", "severity_number", "body", "log_id", "log_name", "attributes", "labels", "sequence", "day", "odd ` + "`" + `name\" it's", "body_raw"}
seen = 0
for path in glob.glob(os.path.join(sys.argv[1], "*.sql")):
    name, engine, _ = os.path.basename(path).split(".")
    statements = sqlglot.parse(open(path).read(), read=engine, error_level=sqlglot.ErrorLevel.RAISE)
    made = [s for s in statements if isinstance(s, exp.Create) and s.kind in ("VIEW", "TABLE")]
    assert len(made) == 1, (path, [type(s) for s in statements])
    made = made[0]
    assert made.find(exp.Table).name == "prod_events", path
    if made.kind == "VIEW":
        names = [e.alias_or_name for e in made.expression.expressions]
    else:
        names = [c.name for c in made.this.expressions]
        by = made.find(exp.PartitionedByProperty)
        names += [c.name for c in by.this.expressions if c.name not in names] if by else []
    assert len(set(names)) == len(names), (path, names)
    want = {"body"} if name.endswith("raw") else every
    assert want <= set(names), (path, want - set(names))
    extra = set(names) - every
    assert extra <= {"stream", "date", "hour"}, (path, extra)
    seen += 1
assert seen == int(sys.argv[2]), seen
`
