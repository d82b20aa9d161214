package parquetfile

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// each writes a file whose chunks are the records, one each.
func each(t testing.TB, o Options, records ...arrow.Record) []byte {
	t.Helper()
	f := New(o)
	enc, err := f.NewEncoder(partfile.Info{Slice: filetest.Slice("x"), Schema: records[0].Schema(), PartSize: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := enc.Begin(&out); err != nil {
		t.Fatal(err)
	}
	c := f.NewChunk()
	for _, rec := range records {
		for row := 0; row < int(rec.NumRows()); {
			if row, _, err = enc.Fill(c, rec, row); err != nil {
				t.Fatal(err)
			}
			if err := enc.Write(c); err != nil {
				t.Fatal(err)
			}
			c.Reset()
		}
	}
	if err := enc.Finish(); err != nil {
		t.Fatal(err)
	}
	enc.Release(false)
	return out.Bytes()
}

// TestEncodings has columns whose chunks differ: one value throughout, another, none, many, and one again. Each is read back by
// Sluice, pyarrow (with the pages' checksums) and DuckDB.
func TestEncodings(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "whole", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "small", Type: arrow.PrimitiveTypes.Int16, Nullable: true},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "real", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "sure", Type: arrow.BinaryTypes.String},
		{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	r := rand.New(rand.NewPCG(3, 4))
	make := func(rows int, value func(i int) int64, nulls float64) arrow.Record {
		b := array.NewRecordBuilder(memory.DefaultAllocator, s)
		defer b.Release()
		for i := range rows {
			v := value(i)
			b.Field(5).(*array.StringBuilder).Append(fmt.Sprint("sure ", v))
			for c := range s.Fields() {
				if c == 5 {
					continue
				}
				if r.Float64() < nulls {
					b.Field(c).AppendNull()
					continue
				}
				switch c := b.Field(c).(type) {
				case *array.StringBuilder:
					c.Append(strings.Repeat(fmt.Sprint("text ", v), int(uint64(v)%5)))
				case *array.Int64Builder:
					c.Append(v)
				case *array.Int16Builder:
					c.Append(int16(v))
				case *array.TimestampBuilder:
					c.Append(arrow.Timestamp(v % 1e15))
				case *array.Float64Builder:
					c.Append([]float64{0, math.Copysign(0, -1), float64(v%1000) + 0.5}[i%3])
				case *array.ListBuilder:
					c.Append(true)
					for range i % 3 {
						c.ValueBuilder().(*array.StringBuilder).Append(fmt.Sprint(v))
					}
				}
			}
		}
		return b.NewRecord()
	}
	kinds := map[string]func(int) int64{
		"one": func(int) int64 { return 7 }, "two": func(int) int64 { return -8 }, "rising": func(i int) int64 { return 1e15 + int64(i)*1000 },
		"many": func(int) int64 { return int64(r.Uint64()) }, "edges": func(i int) int64 { return []int64{math.MinInt64, math.MaxInt64, 0, -1}[i%4] },
		"few": func(i int) int64 { return int64(i / 40 % 7) },
	}
	dir := t.TempDir()
	for n, order := range [][]string{
		{"one", "one", "two", "none", "many", "one"},
		{"none", "one", "rising", "edges", "two"},
		{"many", "one", "few"},
		{"few", "few", "one", "none", "edges"},
		{"one"},
		{"none"},
		{"none", "none", "two"},
		{"rising", "rising", "few", "none"},
	} {
		for _, c := range testsize.Of(Compressions(), []Compression{Snappy}) {
			for _, group := range []int64{1, 1 << 30} { // a chunk each; all in one
				var records []arrow.Record
				for i, kind := range order {
					rows := []int{1, 129, 500, 64, 700, 33}[(i+n)%6]
					if kind == "none" {
						records = append(records, make(rows, kinds["few"], 1))
					} else {
						records = append(records, make(rows, kinds[kind], []float64{0, 0, 0.3}[(i+n)%3]))
					}
				}
				out := each(t, Options{Compression: c, Timestamps: Micros, RowGroup: group}, records...)
				name := fmt.Sprintf("%d-%s-%d", n, c, min(group, 2))
				want := lines(t, records...)
				if diff := firstDifference(normal(t, want), normal(t, readBack(t, out))); diff != "" {
					t.Errorf("%s: %v: %s", name, order, diff)
				}
				put(t, filepath.Join(dir, name+".parquet"), out)
				put(t, filepath.Join(dir, name+".ndjson"), []byte(want))
				for _, rec := range records {
					rec.Release()
				}
			}
		}
	}
	t.Log(python(t, compareEncodings, dir))
}

const compareEncodings = `
import sys, glob, json, collections
import duckdb, pyarrow.parquet as pq
columns = ("text", "whole", "small", "real", "sure", "tags")
def key(r):
    return tuple(r.get(c) for c in columns)
seen = collections.Counter()
sql = duckdb.connect()
for name in sorted(glob.glob(sys.argv[1] + "/*.parquet")):
    want = [json.loads(l) for l in open(name[:-7] + "ndjson")]
    f = pq.ParquetFile(name, page_checksum_verification=True)
    got = f.read().to_pylist()
    assert len(want) == len(got)
    for i, (w, g) in enumerate(zip(want, got)):
        assert key(w) == key(g), (name, i, w, g)
        assert (w.get("at") or "")[:19] == (g["at"].isoformat() if g["at"] else "")[:19], (name, i, w, g)
    rows = sql.execute(f"select {', '.join(columns)} from read_parquet('{name}')").fetchall()
    assert [tuple(r) for r in rows] == [key(w) for w in want], name
    for v in sorted({w["text"] for w in want if w.get("text")})[:2]:
        n = sql.execute(f"select count(*) from read_parquet('{name}') where text = ?", [v]).fetchone()[0]
        assert n == sum(w.get("text") == v for w in want), (name, v)
    for g in range(f.num_row_groups):
        for c in range(f.metadata.num_columns):
            seen.update(f.metadata.row_group(g).column(c).encodings)
print(dict(seen))
assert min(seen[e] for e in ("RLE_DICTIONARY", "DELTA_BINARY_PACKED", "PLAIN")) > 20, seen
`

// TestPages has lines that need several pages of a chunk, with and without nulls, and one that is larger than a chunk. A page is
// about as large as it should be, and what the footer says of sizes is what is there.
func TestPages(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "source", Type: arrow.BinaryTypes.String},
	}, nil)
	for _, nulls := range []bool{false, true} {
		b := array.NewRecordBuilder(memory.DefaultAllocator, s)
		r := rand.New(rand.NewPCG(5, 6))
		for i := range 30_000 {
			switch {
			case nulls && (i < 100 || i%9 == 3 || i > 29_900):
				b.Field(0).AppendNull()
			case i == 20_000:
				b.Field(0).(*array.StringBuilder).Append(strings.Repeat("long ", 1<<20))
			default:
				b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("line %d %0*x", i, r.IntN(300), r.Uint64()))
			}
			b.Field(1).(*array.StringBuilder).Append("web")
		}
		rec := b.NewRecord()
		b.Release()
		want := normal(t, lines(t, rec))
		for _, c := range testsize.Of(Compressions(), []Compression{Snappy}) {
			out := each(t, Options{Compression: c, Timestamps: Micros, RowGroup: DefaultRowGroup}, rec)
			if diff := firstDifference(want, normal(t, readBack(t, out))); diff != "" {
				t.Errorf("%s, nulls %v: %s", c, nulls, diff[:min(len(diff), 500)])
			}
			sizes := pageSizes(t, out)
			slices.Sort(sizes)
			if n := len(sizes); n < 8 || sizes[n/2] > 2*pageSize || sizes[n-1] < 5<<20 || sizes[n-2] > 2*pageSize {
				t.Errorf("%s, nulls %v: pages of %v bytes, want about %d, and one of 5 MiB", c, nulls, sizes, pageSize)
			}
		}
		rec.Release()
	}
}

// pageSizes returns how large the pages of the first column are before compression.
func pageSizes(t *testing.T, out []byte) (sizes []int) {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for g := range r.NumRowGroups() {
		meta, err := r.MetaData().RowGroup(g).ColumnChunk(0)
		if err != nil {
			t.Fatal(err)
		}
		pages, err := r.RowGroup(g).GetColumnPageReader(0)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for pages.Next() {
			n := len(pages.Page().Data())
			sizes = append(sizes, n)
			total += n
		}
		if err := pages.Err(); err != nil {
			t.Fatal(err)
		}
		if told := int(meta.TotalUncompressedSize()); told < total || told > total+64*len(sizes) {
			t.Errorf("row group %d: the footer says %d bytes before compression, pages have %d without headers", g, told, total)
		}
	}
	return sizes
}
