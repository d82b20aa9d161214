package parquetfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// python runs a script with the readers' Python and returns what it printed.
func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	exe := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	cmd := exec.Command(exe, append([]string{"-c", script}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, errs.String())
	}
	return string(out)
}

// lines returns records as NDJSON.
func lines(t *testing.T, records ...arrow.Record) string {
	t.Helper()
	var out []byte
	for _, rec := range records {
		enc, err := encode.New(encode.NDJSON, rec.Schema())
		if err != nil {
			t.Fatal(err)
		}
		for row := 0; row < int(rec.NumRows()); {
			if out, row, err = enc.Append(out, rec, row, 1<<40); err != nil {
				t.Fatal(err)
			}
		}
	}
	return string(out)
}

// readBack returns a file as NDJSON.
func readBack(t *testing.T, file []byte) string {
	t.Helper()
	var out strings.Builder
	if err := Read(bytes.NewReader(file), func(rec arrow.Record) error {
		out.WriteString(lines(t, rec))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func put(t *testing.T, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestEveryType writes records of every type with more and fewer nulls, sliced and not, in several row groups, and reads them
// back: as Sluice does, and with pyarrow, which also recounts what the footer says of each column.
func TestEveryType(t *testing.T) {
	s := filetest.Schema()
	dir := t.TempDir()
	for seed := range uint64(6) {
		c := Compressions()[seed%3]
		o := Options{Compression: c, Timestamps: Nanos, RowGroup: 1 << 10}
		r := rand.New(rand.NewPCG(seed, 1))
		alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
		var want string
		var records []arrow.Record
		for range 12 {
			rec := filetest.Record(alloc, r, s, 1+r.IntN(60), []float64{0, 0.1, 0.5, 1}[r.IntN(4)])
			if n := rec.NumRows(); r.IntN(2) == 0 && n > 3 {
				part := rec.NewSlice(1, n-1)
				rec.Release()
				rec = part
			}
			want += lines(t, rec)
			records = append(records, rec)
		}
		file, rejected := filetest.Write(t, New(o), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, sinktest.Overwrite, records...)
		for i, bad := range rejected {
			if len(bad) > 0 {
				t.Fatalf("seed %d: record %d: rejected %v", seed, i, bad)
			}
		}
		for _, rec := range records {
			rec.Release()
		}
		alloc.AssertSize(t, 0)
		got := readBack(t, file)
		if diff := firstDifference(normal(t, want), normal(t, got)); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		put(t, filepath.Join(dir, fmt.Sprintf("%d.parquet", seed)), file)
	}
	t.Log(python(t, checkStatistics, dir))
}

// normal rewrites NDJSON so that what Parquet tells otherwise is alike: durations are numbers, decimals of 256 bits ones of 128.
func normal(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		var v map[string]any
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func firstDifference(want, got []string) string {
	for i := range want {
		if i >= len(got) || want[i] != got[i] {
			other := "nothing"
			if i < len(got) {
				other = got[i]
			}
			return fmt.Sprintf("line %d:\nwant %s\ngot  %s", i, want[i], other)
		}
	}
	if len(got) > len(want) {
		return fmt.Sprintf("%d more lines, the first is %s", len(got)-len(want), got[len(want)])
	}
	return ""
}

// checkStatistics reads the files of a folder with pyarrow and compares what the footers say of row groups with their values.
const checkStatistics = `
import sys, glob, math
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute as pc
columns = groups = bounds = 0
def flat(a):
    "the leaves of an array, each with the number of empty or null lists and structs around it"
    t = a.type
    if pa.types.is_map(t) or pa.types.is_list(t):
        empties = sum(1 for v in a if not v.is_valid or len(v.as_py()) == 0)
        if pa.types.is_map(t):
            pairs = [p for v in a if v.is_valid for p in v.as_py()]
            kids = [pa.array([p[0] for p in pairs], t.key_type), pa.array([p[1] for p in pairs], t.item_type)]
        else:
            kids = [pa.array([p for v in a if v.is_valid for p in v.as_py()], t.value_type)]
        return [(leaf, n + empties) for k in kids for leaf, n in flat(k)]
    if pa.types.is_struct(t):
        out = []
        for i in range(t.num_fields):
            f = t.field(i)
            out += flat(pa.array([None if not v.is_valid else v.as_py()[f.name] for v in a], f.type))
        return out
    return [(a, 0)]
for name in sorted(glob.glob(sys.argv[1] + "/*.parquet")):
    f = pq.ParquetFile(name)
    assert f.metadata.num_rows == f.read().num_rows
    for g in range(f.num_row_groups):
        groups += 1
        table, meta = f.read_row_group(g).combine_chunks(), f.metadata.row_group(g)
        assert meta.num_rows == table.num_rows
        leaves = [l for c in table.columns for l in flat(c.chunk(0) if c.num_chunks else pa.array([], c.type))]
        assert len(leaves) == meta.num_columns, (len(leaves), meta.num_columns)
        for i, (values, empties) in enumerate(leaves):
            columns += 1
            column = meta.column(i)
            s = column.statistics
            where = (name, g, column.path_in_schema)
            assert column.num_values == len(values) + empties, (where, column.num_values, len(values), empties)
            if pa.types.is_null(values.type):
                continue
            assert s is not None and s.null_count == values.null_count + empties, (where, s, values.null_count, empties)
            present = values.drop_null()
            if pa.types.is_floating(values.type) and len(present):
                present = present.filter(pc.invert(pc.is_nan(present)))
            if len(present) == 0:
                assert not s.has_min_max, (where, s)
                continue
            lo, hi = min(present.to_pylist()), max(present.to_pylist())
            if any(isinstance(b, (str, bytes)) and len(b.encode() if isinstance(b, str) else b) > 1024 for b in (lo, hi)):
                assert not s.has_min_max, where
                continue
            if pa.types.is_string(values.type):
                lo, hi = (f(present.to_pylist(), key=str.encode) for f in (min, max))
            assert s.has_min_max, (where, lo, hi)
            bounds += 1
            if pa.types.is_timestamp(values.type) or pa.types.is_time(values.type) or pa.types.is_duration(values.type):
                ints = present.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())
                lo, hi = pc.min(ints).as_py(), pc.max(ints).as_py()
                assert (s.min_raw, s.max_raw) == (lo, hi), (where, s, lo, hi)
            else:
                assert (s.min, s.max) == (lo, hi), (where, s.min, s.max, lo, hi)
print(f"{columns} column chunks of {groups} row groups, {bounds} with bounds")
assert groups > 20 and bounds > 500
`

// TestRejected leaves out rows that have no form in the file, and only them.
func TestRejected(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
		{Name: "ids", Type: arrow.ListOf(arrow.PrimitiveTypes.Uint64), Nullable: true},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, Nullable: true},
		{Name: "log_id", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "log_name", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(`[
		{"id": "9223372036854775807", "ids": ["1"], "at": "2026-11-01", "log_id": "x", "log_name": "web"},
		{"id": "9223372036854775808", "ids": ["1"], "log_id": "x", "log_name": "web"},
		{"id": "2", "ids": ["1", "18446744073709551615"], "log_id": "x", "log_name": "web"},
		{"id": "3", "log_id": "y", "log_name": "web"},
		{"id": "4", "log_id": "x"},
		{"id": null, "ids": null, "log_id": "x", "log_name": "web"},
		{"id": "6", "at": "9999-12-31", "log_id": "x", "log_name": "web"}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	for unit, want := range map[Unit]string{
		Micros: "1 id,2 ids,3 log_id,4 log_name|9223372036854775807,null,6",
		Nanos:  "1 id,2 ids,3 log_id,4 log_name,6 at|9223372036854775807,null",
	} {
		o := Defaults()
		o.Timestamps = unit
		file, rejected := filetest.Write(t, New(o), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40, Omit: []string{"log_id", "log_name"}}, nil, rec)
		var bad, ids []string
		for _, r := range rejected[0] {
			_, column, _ := strings.Cut(r.Reason, `column "`)
			column, _, _ = strings.Cut(column, `"`)
			bad = append(bad, fmt.Sprint(r.Row, " ", column))
		}
		if err := Read(bytes.NewReader(file), func(rec arrow.Record) error {
			if rec.NumCols() != 3 {
				t.Errorf("columns %v, want id, ids and at", rec.Schema())
			}
			c := rec.Column(0).(*array.Int64)
			for i := range c.Len() {
				if c.IsNull(i) {
					ids = append(ids, "null")
				} else {
					ids = append(ids, fmt.Sprint(c.Value(i)))
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(bad, ",") + "|" + strings.Join(ids, ","); got != want {
			t.Errorf("%s: %s, want %s", unit, got, want)
		}
	}
}

// TestScan reads files back as far as a digest needs.
func TestScan(t *testing.T) {
	for unit, exact := range map[Unit]int{Nanos: 21, Micros: 20} {
		filetest.Scan(t, New(Options{Compression: Zstd, Timestamps: unit, RowGroup: 4 << 10}), exact)
	}
}
