package parquet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// logs is the schema of a stream of lines as sources have it.
func logs() *arrow.Schema {
	at := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	return arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: at, Nullable: true},
		{Name: flow.ColReceivedFrom, Type: at},
		{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColSeverityNumber, Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
		{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
		{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
		{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
		{Name: "sequence", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
	}, nil)
}

// day is that of the first slice.
var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// commit writes rows of one partition and day as a slice and returns its receipt.
func commit(t *testing.T, k sinks.Sink, key, name string, at time.Time, rows int) sinks.Receipt {
	t.Helper()
	s := logs()
	slice := flow.NewSlice(flow.Partition{Selection: flow.SelectionID{1}, Stream: "events", Key: key}, at, at.Add(time.Hour), 0)
	tx, err := k.Begin(t.Context(), slice, 0, s)
	if err != nil {
		t.Fatal(err)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	var sum flow.Sum
	for i := range rows {
		body := fmt.Sprintf("%s %s line %d", key, at.Format("02"), i)
		sum.Add([]byte(body))
		if i%7 == 3 {
			b.Field(0).AppendNull()
		} else {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixNano() + int64(i)*1001))
		}
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixNano()))
		b.Field(2).AppendNull()
		b.Field(3).(*array.Int32Builder).Append(int32(i % 24))
		b.Field(4).(*array.StringBuilder).Append(body)
		b.Field(5).(*array.StringBuilder).Append("sinktest")
		b.Field(6).(*array.StringBuilder).Append(key)
		if name == "" {
			b.Field(7).AppendNull()
		} else {
			b.Field(7).(*array.StringBuilder).Append(name)
		}
		m := b.Field(8).(*array.MapBuilder)
		m.Append(true)
		m.KeyBuilder().(*array.StringBuilder).Append("n")
		m.ItemBuilder().(*array.StringBuilder).Append(fmt.Sprint(i))
		b.Field(9).(*array.Uint64Builder).Append(uint64(i))
	}
	rec := b.NewRecord()
	defer rec.Release()
	for lo := int64(0); lo < rec.NumRows(); lo += 500 {
		part := rec.NewSlice(lo, min(lo+500, rec.NumRows()))
		rejected, err := tx.Append(t.Context(), flow.Batch{Slice: slice.ID, Seq: uint64(lo), Records: part})
		part.Release()
		if err != nil || len(rejected) > 0 {
			t.Fatal(err, rejected)
		}
	}
	r, err := tx.Commit(t.Context(), sinks.Account{Read: sum, Delivered: sum, Source: sinks.SourceInfo{Name: "sinktest", Version: "1.0.0"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openLogs(t *testing.T, root, more string) sinks.Sink {
	t.Helper()
	c := sinktest.InFolder(root, more)
	c.Streams = []sinks.Stream{{Name: "events", Selection: flow.SelectionID{1}, Schema: logs(), PartitionBy: "log_id"}}
	k, err := Definition.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// TestReaders has pyarrow, pandas and DuckDB read roots as their users would, without an option.
func TestReaders(t *testing.T) {
	exe := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	args := []string{"-c", readers} // one process for all: the readers take longer to start than to read
	for _, more := range []string{``, `"compression": "snappy"`, `"compression": "none", "timestamps": "ms"`, `"timestamps": "ns", "part_size": "4KiB"`} {
		root := filepath.Join(t.TempDir(), "lake")
		k := openLogs(t, root, more)
		rows := 0
		for d := range 2 {
			for i, key := range []string{"aee00b66-0000-4000-8000-000000000001", "b:/2"} {
				n := 700*i + 900 + d
				r := commit(t, k, key, "web", day.AddDate(0, 0, d), n)
				rows += n
				if strings.Contains(more, "part_size") && len(r.Parts) < 2 {
					t.Errorf("%d parts, want several", len(r.Parts))
				}
			}
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		args = append(args, root, fmt.Sprint(rows), more)
	}
	if out, err := exec.Command(exe, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

const readers = `
import sys, glob
import duckdb, pandas, pyarrow.parquet as pq

def check(root, want):
    table = pq.read_table(root)
    assert table.num_rows == want, table.num_rows
    assert set(table["log_id"].to_pylist()) == {"aee00b66-0000-4000-8000-000000000001", "b:/2"}, set(table["log_id"].to_pylist())
    assert len(set(table["date"].to_pylist())) == 2
    assert table["body"].null_count == 0 and len(set(table["body"].to_pylist())) == want
    assert table.column_names.count("log_id") == 1, table.column_names

    frame = pandas.read_parquet(root)
    assert len(frame) == want and frame["log_id"].nunique() == 2 and frame["body"].nunique() == want
    assert str(frame["timestamp"].dtype).startswith("datetime64["), frame.dtypes

    sql = duckdb.connect()
    source = f"read_parquet('{root}/**/*.parquet', hive_partitioning = true)"
    assert sql.execute(f"select count(*), count(distinct body), count(distinct log_id), count(distinct date), min(timestamp) is not null from {source}").fetchone() == (want, want, 2, 2, True)
    assert sql.execute(f"select count(*) from {source} where log_id = 'b:/2' and date = '2026-11-01'").fetchone() == (1600,)
    assert sql.execute(f"select sum(severity_number), max(attributes['n']) is not null from {source}").fetchone()[1]
    sql.execute(f"create table copy as select * from {source}")
    # a reader that skips row groups by the footer finds what one that reads them all finds
    for where in ("timestamp is null", "severity_text is null", "body = 'b:/2 01 line 42'", "sequence = 899", "sequence > 899", "timestamp > timestamptz '2026-11-01 12:00:00Z'"):
        n = sql.execute(f"select count(*) from {source} where {where}").fetchone()[0]
        assert n == sql.execute(f"select count(*) from copy where {where}").fetchone()[0] and (n > 0), (where, n)

    for name in glob.glob(root + "/stream=events/**/*.parquet", recursive=True):
        meta = pq.ParquetFile(name).schema_arrow.metadata or {}
        meta = {**meta, **(pq.ParquetFile(name).metadata.metadata or {})}
        for key in (b"sluice.slice", b"sluice.from", b"sluice.to", b"sluice.revision", b"sluice.source", b"sluice.version", b"sluice.schema_version", b"sluice.selection"):
            assert meta.get(key), (name, key, meta)
        assert meta[b"sluice.slice"].decode()[:16] in name

for root, want, settings in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    print("settings:", settings)
    check(root, int(want))
`

// TestLogNameFolder has logs without a name in Hive's folder for them, and leaves out of the file what its path tells.
func TestLogNameFolder(t *testing.T) {
	root := t.TempDir()
	k := openLogs(t, root, `"layout": "tenant={labels.tenant}/log_name={log_name}/log_id={partition}"`)
	for _, tt := range []struct{ name, want string }{
		{"web: a", "tenant=acme/log_name=web%3A a/log_id=x/"},
		{"", "tenant=acme/log_name=__HIVE_DEFAULT_PARTITION__/log_id=y/"},
	} {
		key := string(tt.want[len(tt.want)-2])
		r := commit(t, k, key, tt.name, day, 10)
		if !strings.HasPrefix(r.Parts[0].Path, tt.want) {
			t.Errorf("%s, want it in %s", r.Parts[0].Path, tt.want)
		}
		if _, err := os.Stat(filepath.Join(root, r.Parts[0].Path)); err != nil {
			t.Error(err)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct{ more, want string }{
		{`"compression": "gzip"`, "compression:"},
		{`"timestamps": "s"`, "timestamps:"},
		{`"row_group_size": "1KiB"`, "row_group_size:"},
		{`"row_group_size": "2GiB"`, "row_group_size:"},
		{`"part_size": "1KB"`, "part_size: 1000 bytes"},
		{`"layout": "body={partition}"`, "a column of that name"},
		{`"layout": "{labels.team}"`, "no such label"},
		{`"pth": 1`, "unknown field"},
	} {
		c := sinktest.InFolder(t.TempDir(), tt.more)
		c.Labels = map[string]string{"tenant": "acme"}
		_, err := Definition.Open(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v, want %q", tt.more, err, tt.want)
		}
		if cerr := Definition.Check(t.Context(), c); cerr == nil || cerr.Error() != err.Error() {
			t.Errorf("%s: check says %v, open %v", tt.more, cerr, err)
		}
	}
	c := sinktest.InFolder(t.TempDir(), "")
	c.Streams = append(c.Streams, sinks.Stream{Name: "odd", Schema: arrow.NewSchema([]arrow.Field{{Name: "span", Type: arrow.FixedWidthTypes.MonthInterval}}, nil)})
	if err := Definition.Check(t.Context(), c); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), `column "span"`) {
		t.Errorf("type that Parquet lacks: %v", err)
	}
}
