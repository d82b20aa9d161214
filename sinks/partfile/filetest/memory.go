package filetest

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/sinks/partfile"
)

// Holds holds what a format's Buffer declares against the heap while a file is written, for text that compresses and for text that
// doesn't. name is the format's in messages.
func Holds(t *testing.T, name string, f partfile.Format) {
	t.Helper()
	s := arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "body", Type: arrow.BinaryTypes.String},
		{Name: "source", Type: arrow.BinaryTypes.String},
		{Name: "attributes", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	for _, letters := range []int{4, 64} {
		rec := noise(s, letters)
		before := heap()
		peak := fill(t, f, s, rec) - before
		t.Logf("%s, %d letters: %d MiB, declared %d MiB", name, letters, peak>>20, f.Buffer()>>20)
		if peak > f.Buffer() {
			t.Errorf("%s: %d bytes are held, declared are %d", name, peak, f.Buffer())
		}
		rec.Release()
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
func fill(t *testing.T, f partfile.Format, s *arrow.Schema, rec arrow.Record) (peak int64) {
	t.Helper()
	enc, err := f.NewEncoder(partfile.Info{Slice: Slice("x"), Schema: s, PartSize: 1 << 40})
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
