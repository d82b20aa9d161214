// Package arrow15 has the writer of arrow/go v15 for the comparison beside it. It can't be in one binary with its successor: both
// have the same symbols in assembly.
package arrow15

import (
	"io"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/sluice-io/sluice/bench/parquet/lines"
)

func BenchmarkWriters(b *testing.B) {
	records, size := lines.Batches(100)
	for _, c := range []struct {
		name  string
		write func(b *testing.B, records []arrow.Record, w io.Writer)
	}{
		{"arrow15/zstd/as_it_comes", write(parquet.WithCompression(compress.Codecs.Zstd))},
		{"arrow15/zstd/workarounds", write(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(1), parquet.WithDictionaryDefault(false),
			parquet.WithStats(false), parquet.WithDataPageSize(512<<10), parquet.WithBatchSize(16<<10))},
		{"arrow15/none/workarounds", write(parquet.WithDictionaryDefault(false), parquet.WithStats(false), parquet.WithDataPageSize(512<<10), parquet.WithBatchSize(16<<10))},
	} {
		b.Run(c.name, func(b *testing.B) { lines.Measure(b, records, size, c.write) })
	}
}

func write(p ...parquet.WriterProperty) func(*testing.B, []arrow.Record, io.Writer) {
	return func(b *testing.B, records []arrow.Record, w io.Writer) {
		f, err := pqarrow.NewFileWriter(lines.Schema, w, parquet.NewWriterProperties(p...), pqarrow.DefaultWriterProps())
		lines.Check(b, err)
		for i, rec := range records {
			if i%40 == 0 {
				f.NewBufferedRowGroup()
			}
			lines.Check(b, f.WriteBuffered(rec))
		}
		lines.Check(b, f.Close())
	}
}
