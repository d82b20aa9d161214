// Package digest measures what the digest of records costs while they are moved, and how fast files are read back to compare it. It
// has benchmarks alone; bench/DIGEST.md holds their figures.
package digest

import (
	"bytes"
	"crypto/sha256"
	"hash/crc32"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/bench/parquet/lines"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/parquetfile"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
	"github.com/sluice-io/sluice/sinks/textfile"
)

// batches is how many batches of about 1 MiB there are: more than the processor's caches hold.
const batches = 32

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs do over size bytes again and again and reports CPU seconds for each GB of them.
func measure(b *testing.B, size int64, do func() error) {
	b.Helper()
	b.SetBytes(size)
	before := cpu()
	for b.Loop() {
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu()-before).Seconds()/(float64(size)*float64(b.N)/1e9), "cpu-s/GB")
}

// BenchmarkDigest is the digest as the source's process and the host compute it, each once for every batch, and other sums for comparison.
func BenchmarkDigest(b *testing.B) {
	all, size := lines.Batches(batches)
	defer func() {
		for _, rec := range all {
			rec.Release()
		}
	}()
	each := func(do func(rec arrow.Record) error) func() error {
		return func() error {
			for _, rec := range all {
				if err := do(rec); err != nil {
					return err
				}
			}
			return nil
		}
	}
	digest := func(rec arrow.Record) error {
		_, err := flow.SumRecord(rec)
		return err
	}
	body := func(rec arrow.Record) []byte {
		return rec.Column(rec.Schema().FieldIndices(flow.ColBody)[0]).(*array.String).ValueBytes()
	}
	b.Run("once", func(b *testing.B) { measure(b, size, each(digest)) })
	b.Run("source_and_host", func(b *testing.B) {
		measure(b, size, each(func(rec arrow.Record) error {
			if err := digest(rec); err != nil {
				return err
			}
			return digest(rec)
		}))
	})
	b.Run("crc32_of_batch", func(b *testing.B) {
		measure(b, size, each(func(rec arrow.Record) error { crc32.ChecksumIEEE(body(rec)); return nil }))
	})
	b.Run("sha256_of_batch", func(b *testing.B) {
		measure(b, size, each(func(rec arrow.Record) error { sha256.Sum256(body(rec)); return nil }))
	})
	to := make([]byte, size)
	b.Run("copy_of_batch", func(b *testing.B) {
		measure(b, size, each(func(rec arrow.Record) error { copy(to, body(rec)); return nil }))
	})
}

// BenchmarkColumns is the digest of a stream that names columns: usage by day.
func BenchmarkColumns(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "day", Type: arrow.FixedWidthTypes.Date32}, {Name: "log_id", Type: arrow.BinaryTypes.String}, {Name: "bytes", Type: arrow.PrimitiveTypes.Int64},
	}, nil)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rows.Release()
	for i := range 1000 {
		rows.Field(0).(*array.Date32Builder).Append(arrow.Date32(20000 + i))
		rows.Field(1).(*array.StringBuilder).Append("aee00b66-a543-43dc-b093-53963c2e8f41")
		rows.Field(2).(*array.Int64Builder).Append(int64(i) << 20)
	}
	rec := rows.NewRecord()
	defer rec.Release()
	names := []string{"day", "log_id", "bytes"}
	sum, err := flow.SumColumns(rec, names)
	if err != nil {
		b.Fatal(err)
	}
	measure(b, int64(sum.Bytes), func() error { _, err := flow.SumColumns(rec, names); return err })
}

// BenchmarkReadBack reads a file of each kind back as `sluice verify` does, from memory: SHA-256 and digest.
func BenchmarkReadBack(b *testing.B) {
	all, size := lines.Batches(batches)
	for name, f := range map[string]partfile.Format{
		"raw":          textfile.New(encode.Raw, textfile.Plain),
		"ndjson":       textfile.New(encode.NDJSON, textfile.Plain),
		"ndjson_gzip":  textfile.New(encode.NDJSON, textfile.Gzip),
		"ndjson_zstd":  textfile.New(encode.NDJSON, textfile.Zstd),
		"csv":          textfile.New(encode.CSV, textfile.Plain),
		"parquet_zstd": parquetfile.New(parquetfile.Defaults()),
		"arrow_lz4":    ipcfile.New(ipcfile.Options{Kind: ipcfile.File, Compression: ipcfile.LZ4}),
	} {
		file, _ := filetest.Write(b, f, partfile.Info{Slice: filetest.Slice("x"), Schema: lines.Schema, PartSize: 1 << 40}, nil, all...)
		of := partfile.Stored{Path: "x" + f.Extension(), Schema: lines.Schema}
		b.Run(name, func(b *testing.B) {
			measure(b, size, func() error {
				sha256.Sum256(file)
				var sum flow.Sum
				return f.Scan(bytes.NewReader(file), of, func(s flow.Sum) error { sum = sum.Plus(s); return nil })
			})
		})
	}
	for _, rec := range all {
		rec.Release()
	}
}
