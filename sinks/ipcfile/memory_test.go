package ipcfile

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// TestNoRaceMemory holds what Buffer declares against the heap, for text that compresses and for text that doesn't.
func TestNoRaceMemory(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "body", Type: arrow.BinaryTypes.String},
		{Name: "source", Type: arrow.BinaryTypes.String},
		{Name: "attributes", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	for _, c := range Compressions() {
		for _, letters := range []int{4, 64} {
			rec := noise(s, letters)
			f := New(File, c)
			before := heap()
			peak := fill(t, f, s, rec) - before
			t.Logf("%s, %d letters: %d MiB, declared %d MiB", c, letters, peak>>20, f.Buffer()>>20)
			if peak > f.Buffer() {
				t.Errorf("%s: %d bytes are held, declared are %d", c, peak, f.Buffer())
			}
			rec.Release()
		}
	}
	if n := New(File, Zstd).Buffer(); n > 48<<20 {
		t.Errorf("by default %d MiB are held, want at most 48", n>>20)
	}
}

// noise returns a batch of random texts.
func noise(s *arrow.Schema, letters int) arrow.Record {
	r := rand.New(rand.NewPCG(1, uint64(letters)))
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	line := make([]byte, 200)
	for i := range 5000 {
		for j := range line {
			line[j] = byte(' ' + r.IntN(letters))
		}
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
		b.Field(1).(*array.StringBuilder).Append(string(line))
		b.Field(2).(*array.StringBuilder).Append("noise")
		b.Field(3).AppendNull()
	}
	return b.NewRecord()
}

// fill writes a file of some row groups and returns the most that the heap had.
func fill(t *testing.T, f *Format, s *arrow.Schema, rec arrow.Record) (peak int64) {
	t.Helper()
	enc, err := f.NewEncoder(partfile.Info{Slice: filetest.Slice("x"), Schema: s, PartSize: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if err := enc.Begin(io.Discard); err != nil {
		t.Fatal(err)
	}
	ring := []partfile.Chunk{f.NewChunk(), f.NewChunk(), f.NewChunk()}
	for i := range 60 {
		c := ring[i%len(ring)]
		for row := 0; row < int(rec.NumRows()) && !c.Full(); {
			if row, _, err = enc.Fill(c, rec, row); err != nil {
				t.Fatal(err)
			}
		}
		if c.Full() || i%5 == 0 {
			if err := enc.Write(c); err != nil {
				t.Fatal(err)
			}
			c.Reset()
		}
		peak = max(peak, heap())
	}
	if err := enc.Finish(); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(ring)
	return peak
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
