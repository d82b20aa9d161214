package ipcfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
		file, _ := filetest.Write(t, New(k, c), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, sinktest.Overwrite, records...)
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
	for _, n := range []int{10, 3 * chunkSize, 10, chunkSize, 0} {
		b.Field(0).(*array.StringBuilder).Append(string(bytes.Repeat([]byte("x"), n)))
	}
	rec := b.NewRecord()
	defer rec.Release()
	for _, k := range Kinds() {
		file, _ := filetest.Write(t, New(k, LZ4), partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40}, nil, rec)
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
		filetest.Scan(t, New(k, LZ4), 22)
	}
}
