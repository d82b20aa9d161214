package ipcfile

import (
	"bytes"
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

// TestEveryType writes records of every type as each kind with each compression, reads them back, and has pyarrow read them.
func TestEveryType(t *testing.T) {
	s := filetest.Schema()
	dir := t.TempDir()
	var rows int
	for seed := range uint64(6) {
		k, c := Kinds()[seed%2], Compressions()[seed/2]
		r := rand.New(rand.NewPCG(seed, 2))
		alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
		var want []byte
		var records []arrow.Record
		for range 8 {
			rec := filetest.Record(alloc, r, s, 1+r.IntN(60), []float64{0, 0.1, 0.5, 1}[r.IntN(4)])
			if n := rec.NumRows(); r.IntN(2) == 0 && n > 3 {
				part := rec.NewSlice(1, n-1)
				rec.Release()
				rec = part
			}
			want = ndjson(t, want, rec)
			rows += int(rec.NumRows())
			records = append(records, rec)
		}
		file, _ := filetest.Write(t, New(Options{Kind: k, Compression: c}), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, sinktest.Overwrite, records...)
		for _, rec := range records {
			rec.Release()
		}
		alloc.AssertSize(t, 0)
		name := filepath.Join(dir, fmt.Sprint(seed)+k.Extension())
		if err := os.WriteFile(name, file, 0o666); err != nil {
			t.Fatal(err)
		}
		var got []byte
		if err := Read(bytes.NewReader(file), func(rec arrow.Record) error {
			got = ndjson(t, got, rec)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s %s: other records were read than written", k, c)
		}
	}
	exe := filepath.Join(realpart.Installed(t, "python"), "bin", "python")
	out, err := exec.Command(exe, "-c", `
import glob, sys
import pyarrow as pa
rows = 0
for name in glob.glob(sys.argv[1] + "/*"):
    open_it = pa.ipc.open_stream if name.endswith(".arrows") else pa.ipc.open_file
    with open_it(pa.OSFile(name)) as f:
        table = f.read_all()
    table.validate(full=True)
    assert table.num_columns == int(sys.argv[2]), table.schema
    assert table.schema.metadata[b"sluice.stream"] == b"events"
    rows += table.num_rows
print(rows)
`, dir, fmt.Sprint(s.NumFields())).CombinedOutput()
	if err != nil || string(out) != fmt.Sprintln(rows) {
		t.Errorf("pyarrow: %v\n%s, want %d", err, out, rows)
	}
}

func ndjson(t *testing.T, dst []byte, rec arrow.Record) []byte {
	t.Helper()
	enc, err := encode.New(encode.NDJSON, rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for row := 0; row < int(rec.NumRows()); {
		if dst, row, err = enc.Append(dst, rec, row, 1<<40); err != nil {
			t.Fatal(err)
		}
	}
	return dst
}

// TestLarge has a record that is larger than a chunk between small ones.
func TestLarge(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	for _, n := range []int{10, 3 * DefaultBatch, 10, DefaultBatch, 0} {
		b.Field(0).(*array.StringBuilder).Append(string(bytes.Repeat([]byte("x"), n)))
	}
	rec := b.NewRecord()
	defer rec.Release()
	for _, k := range Kinds() {
		file, _ := filetest.Write(t, New(Options{Kind: k, Compression: LZ4}), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, nil, rec)
		var got []byte
		if err := Read(bytes.NewReader(file), func(rec arrow.Record) error {
			got = ndjson(t, got, rec)
			return nil
		}); err != nil || !bytes.Equal(got, ndjson(t, nil, rec)) {
			t.Errorf("%s: other records were read than written, %v", k, err)
		}
	}
}

// TestScan reads files back as far as a digest needs.
func TestScan(t *testing.T) {
	for _, k := range Kinds() {
		filetest.Scan(t, New(Options{Kind: k, Compression: LZ4}), 22)
		filetest.Scan(t, New(Options{Kind: k, Compression: LZ4, Timestamps: Nanos}), 20)
	}
}

// TestTimestamps: all timestamps of a file have the unit that was asked for, those inside of others too; what it can't hold is
// refused, and without a unit each stays as it was sent.
func TestTimestamps(t *testing.T) {
	of := func(u arrow.TimeUnit) arrow.DataType { return &arrow.TimestampType{Unit: u, TimeZone: "UTC"} }
	s := arrow.NewSchema([]arrow.Field{
		{Name: "ns", Type: of(arrow.Nanosecond), Nullable: true},
		{Name: "s", Type: of(arrow.Second), Nullable: true},
		{Name: "all", Type: arrow.ListOf(of(arrow.Millisecond)), Nullable: true},
		{Name: "map", Type: arrow.MapOf(arrow.BinaryTypes.String, of(arrow.Nanosecond)), Nullable: true},
		{Name: "in", Type: arrow.StructOf(arrow.Field{Name: "at", Type: of(arrow.Second), Nullable: true}), Nullable: true},
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(`[
		{"ns": "2026-11-01T12:00:00.000000001Z", "s": "2026-11-01T12:00:00Z", "n": 0},
		{"ns": "1969-12-31T23:59:59.999999999Z", "s": null, "all": ["2026-11-01T12:00:00.125Z", null],
		 "map": [{"key": "a", "value": "2026-11-01T12:00:00.000001999Z"}], "in": {"at": "2026-11-01T12:00:00Z"}, "n": 1},
		{"s": "2500-01-01T00:00:00Z", "n": 2},
		{"in": {"at": "2500-01-01T00:00:00Z"}, "n": 3},
		{"all": ["2500-01-01T00:00:00Z"], "n": 4},
		{"all": [], "in": {"at": null}, "n": 5}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	part := rec.NewSlice(1, rec.NumRows())
	defer part.Release()
	for _, tt := range []struct {
		unit  Unit
		name  string
		types string // of the columns in the file
		bad   string // rows that are refused
		rows  string
	}{
		{AsSent, "arrow-file", "ns s ms ns s", "", `
{"ns":"1969-12-31T23:59:59.999999999Z","all":["2026-11-01T12:00:00.125000000Z",null],"map":{"a":"2026-11-01T12:00:00.000001999Z"},"in":{"at":"2026-11-01T12:00:00.000000000Z"},"n":1}
{"s":"2500-01-01T00:00:00.000000000Z","n":2}
{"in":{"at":"2500-01-01T00:00:00.000000000Z"},"n":3}
{"all":["2500-01-01T00:00:00.000000000Z"],"n":4}
{"all":[],"in":{},"n":5}
`},
		{Micros, "arrow-file-us", "us us us us us", "", `
{"ns":"1969-12-31T23:59:59.999999000Z","all":["2026-11-01T12:00:00.125000000Z",null],"map":{"a":"2026-11-01T12:00:00.000001000Z"},"in":{"at":"2026-11-01T12:00:00.000000000Z"},"n":1}
{"s":"2500-01-01T00:00:00.000000000Z","n":2}
{"in":{"at":"2500-01-01T00:00:00.000000000Z"},"n":3}
{"all":["2500-01-01T00:00:00.000000000Z"],"n":4}
{"all":[],"in":{},"n":5}
`},
		{Nanos, "arrow-file-ns", "ns ns ns ns ns", "1 s,2 in,3 all", `
{"ns":"1969-12-31T23:59:59.999999999Z","all":["2026-11-01T12:00:00.125000000Z",null],"map":{"a":"2026-11-01T12:00:00.000001999Z"},"in":{"at":"2026-11-01T12:00:00.000000000Z"},"n":1}
{"all":[],"in":{},"n":5}
`},
	} {
		f := New(Options{Kind: File, Compression: Zstd, Timestamps: tt.unit})
		if f.Name() != tt.name {
			t.Errorf("%q is called %s, want %s", tt.unit, f.Name(), tt.name)
		}
		file, rejected := filetest.Write(t, f, partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, nil, part)
		var bad []string
		for _, r := range rejected[0] {
			column, _, _ := strings.Cut(strings.TrimPrefix(r.Reason, `arrow: column "`), `"`)
			bad = append(bad, fmt.Sprint(r.Row, " ", column))
		}
		if got := strings.Join(bad, ","); got != tt.bad {
			t.Errorf("%q: refused %s, want %s", tt.unit, got, tt.bad)
		}
		var got []byte
		var types []string
		if err := Read(bytes.NewReader(file), func(rec arrow.Record) error {
			got = ndjson(t, got, rec)
			for _, field := range rec.Schema().Fields()[:5] {
				types = append(types, unitIn(field.Type))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if strings.Join(types, " ") != tt.types || string(got) != tt.rows[1:] {
			t.Errorf("%q: the file has the units %v and\n%s, want %s and%s", tt.unit, types, got, tt.types, tt.rows)
		}
	}
}

// unitIn is the unit of the timestamp in a type.
func unitIn(t arrow.DataType) string {
	for {
		switch of := t.(type) {
		case *arrow.TimestampType:
			return of.Unit.String()
		case *arrow.MapType:
			t = of.ItemType()
		case arrow.NestedType:
			t = of.Fields()[0].Type
		default:
			return ""
		}
	}
}

// TestBatches: batches end near the size that is asked for.
func TestBatches(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	for range 10_000 {
		b.Field(0).(*array.StringBuilder).Append(strings.Repeat("x", 100))
	}
	rec := b.NewRecord()
	defer rec.Release()
	for size, want := range map[int64]int{0: 1, 64 << 10: 16, 256 << 10: 5} {
		file, _ := filetest.Write(t, New(Options{Kind: File, Compression: LZ4, Batch: size}), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, nil, rec)
		n := 0
		if err := Read(bytes.NewReader(file), func(arrow.Record) error { n++; return nil }); err != nil || n != want {
			t.Errorf("with batches of %d bytes the file has %d, %v, want %d", size, n, err, want)
		}
	}
}
