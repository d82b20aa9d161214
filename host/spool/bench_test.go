package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/proto/flow"
)

// lines are batches of about a MiB of lines like those of an access log.
func lines(b *testing.B, batches int) (items []flow.Item, sum flow.Sum) {
	b.Helper()
	for n := range batches {
		source, body, code := array.NewStringBuilder(memory.DefaultAllocator), array.NewStringBuilder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
		rows := 0
		for size := 0; size < 1<<20; rows++ {
			x := uint64(n*100_000+rows) * 0x9E3779B97F4A7C15
			text := fmt.Sprintf(`10.%d.%d.%d - - [01/Mar/2026:%02d:%02d:%02d +0000] "GET /shop/item/%d?session=%016x HTTP/1.1" 200 %d "-" "Mozilla/5.0 (X11; Linux x86_64)"`,
				x>>56, x>>48&255, x>>40&255, rows/3600%24, rows/60%60, rows%60, x%9973, x, x>>50)
			source.Append("fake")
			body.Append(text)
			code.AppendNull()
			sum.Add([]byte(text))
			size += len(text)
		}
		columns := []arrow.Array{source.NewArray(), body.NewArray(), code.NewArray()}
		items = append(items, flow.Item{Batch: &flow.Batch{
			Slice: sliceOf(1).ID, Seq: uint64(n), Records: array.NewRecord(schema, columns, int64(rows)), Bytes: 1 << 20,
		}})
	}
	return items, sum
}

// cpu is the processor time of this process, in seconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkSpool writes a slice of 64 MiB of text, and reads it again with its proof. The figure of note is CPU-s/GB of text.
func BenchmarkSpool(b *testing.B) {
	c := newContent(b, sliceOf(1), 1, 0, 0)
	items, sum := lines(b, 64)
	m := flow.Manifest{Slice: sliceOf(1), Sum: sum}
	write := func(s *Store) {
		w, err := s.Create(c.header)
		if err != nil {
			b.Fatal(err)
		}
		for _, it := range items {
			if err := w.Write(it); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Seal(m, nil); err != nil {
			b.Fatal(err)
		}
	}
	report := func(b *testing.B, began float64) {
		b.SetBytes(int64(sum.Bytes))
		b.ReportMetric((cpu(b)-began)/(float64(b.N)*float64(sum.Bytes)/1e9), "CPU-s/GB")
	}
	b.Run("write", func(b *testing.B) {
		s := openStore(b, b.TempDir(), 1<<40)
		began := cpu(b)
		b.ResetTimer()
		for range b.N {
			write(s)
		}
		report(b, began)
		b.ReportMetric(float64(sum.Bytes)/float64(s.Used()), "ratio")
	})
	b.Run("read", func(b *testing.B) {
		s := openStore(b, b.TempDir(), 1<<40)
		write(s)
		began := cpu(b)
		b.ResetTimer()
		for range b.N {
			r, err := s.Open(sliceOf(1), schema, origin)
			if err != nil {
				b.Fatal(err)
			}
			for {
				it, err := r.Next(context.Background())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				r.Release(it)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
		report(b, began)
	})
}
