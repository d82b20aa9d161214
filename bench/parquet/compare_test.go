// Package parquet compares writers of Parquet files on log lines: go test -bench . -benchtime 5x ./bench/parquet/...
//
// Each writes the same batches of arrow/go v15 into nothing. The figures of README.md are this benchmark's.
package parquet

import (
	"bytes"
	"io"
	"testing"

	arrow18 "github.com/apache/arrow-go/v18/arrow"
	array18 "github.com/apache/arrow-go/v18/arrow/array"
	ipc18 "github.com/apache/arrow-go/v18/arrow/ipc"
	memory18 "github.com/apache/arrow-go/v18/arrow/memory"
	parquet18 "github.com/apache/arrow-go/v18/parquet"
	compress18 "github.com/apache/arrow-go/v18/parquet/compress"
	pqarrow18 "github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	pqgo "github.com/parquet-go/parquet-go"
	pqcompress "github.com/parquet-go/parquet-go/compress"
	pqgozstd "github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/sluice-io/sluice/bench/parquet/lines"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/parquetfile"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// BenchmarkWriters has all contenders but arrow/go v15, which can't be in one binary with its successor.
func BenchmarkWriters(b *testing.B) {
	records, size := lines.Batches(100)
	for _, c := range []struct {
		name  string
		write func(b *testing.B, records []arrow.Record, w io.Writer)
	}{
		{"sluice/zstd", sluice(parquetfile.Zstd)},
		{"arrow18/zstd/as_it_comes", arrow18As(parquet18.WithCompression(compress18.Codecs.Zstd))},
		{"arrow18/zstd/level_1_no_dictionary", arrow18As(parquet18.WithCompression(compress18.Codecs.Zstd), parquet18.WithCompressionLevel(1),
			parquet18.WithDictionaryDefault(false), parquet18.WithDataPageSize(512<<10), parquet18.WithBatchSize(16<<10))},
		{"parquet-go/zstd/fastest", parquetGo(&pqgozstd.Codec{Level: pqgozstd.SpeedFastest})},
		{"sluice/snappy", sluice(parquetfile.Snappy)},
		{"arrow18/snappy/as_it_comes", arrow18As(parquet18.WithCompression(compress18.Codecs.Snappy))},
		{"parquet-go/snappy", parquetGo(&pqgo.Snappy)},
		{"sluice/none", sluice(parquetfile.None)},
		{"arrow18/none/no_dictionary", arrow18As(parquet18.WithDictionaryDefault(false), parquet18.WithDataPageSize(512<<10), parquet18.WithBatchSize(16<<10))},
	} {
		b.Run(c.name, func(b *testing.B) {
			lines.Measure(b, records, size, c.write)
		})
	}
}

// rowGroup is how large row groups are in the file.
const rowGroup = 8 << 20

func sluice(c parquetfile.Compression) func(*testing.B, []arrow.Record, io.Writer) {
	return written(parquetfile.New(parquetfile.Options{Compression: c, Timestamps: parquetfile.Micros, RowGroup: rowGroup}))
}

// written writes a file as a part of a slice is.
func written(f partfile.Format) func(*testing.B, []arrow.Record, io.Writer) {
	chunk := f.NewChunk()
	return func(b *testing.B, records []arrow.Record, w io.Writer) {
		enc, err := f.NewEncoder(partfile.Info{Slice: filetest.Slice("x"), Schema: lines.Schema, PartSize: 1 << 40})
		lines.Check(b, err)
		lines.Check(b, enc.Begin(w))
		for _, rec := range records {
			for row := 0; row < int(rec.NumRows()); {
				row, _, err = enc.Fill(chunk, rec, row)
				lines.Check(b, err)
				if chunk.Full() {
					lines.Check(b, enc.Write(chunk))
					chunk.Reset()
				}
			}
		}
		lines.Check(b, enc.Write(chunk))
		chunk.Reset()
		lines.Check(b, enc.Finish())
		enc.Release(false)
	}
}

// BenchmarkArrow writes Arrow's own files of the same batches.
func BenchmarkArrow(b *testing.B) {
	records, size := lines.Batches(100)
	for _, zip := range ipcfile.Compressions() {
		b.Run(string(zip), func(b *testing.B) {
			lines.Measure(b, records, size, written(ipcfile.New(ipcfile.Options{Kind: ipcfile.File, Compression: zip})))
		})
	}
}

func arrow18As(p ...parquet18.WriterProperty) func(*testing.B, []arrow.Record, io.Writer) {
	return func(b *testing.B, records []arrow.Record, w io.Writer) {
		s := later(b)
		f, err := pqarrow18.NewFileWriter(s, w, parquet18.NewWriterProperties(p...), pqarrow18.DefaultWriterProps())
		lines.Check(b, err)
		for _, rec := range records {
			out := make([]arrow18.Array, rec.NumCols())
			for i, c := range rec.Columns() {
				out[i] = array18.MakeFromData(laterData(c.Data(), s.Field(i).Type))
			}
			lines.Check(b, f.WriteBuffered(array18.NewRecordBatch(s, out, rec.NumRows())))
			if f.RowGroupTotalCompressedBytes() >= rowGroup {
				f.NewBufferedRowGroup()
			}
		}
		lines.Check(b, f.Close())
	}
}

func later(b *testing.B) *arrow18.Schema {
	var buf bytes.Buffer
	lines.Check(b, ipc.NewWriter(&buf, ipc.WithSchema(lines.Schema)).Close())
	r, err := ipc18.NewReader(&buf)
	lines.Check(b, err)
	defer r.Release()
	return r.Schema()
}

func laterData(d arrow.ArrayData, of arrow18.DataType) arrow18.ArrayData {
	buffers := make([]*memory18.Buffer, len(d.Buffers()))
	for i, m := range d.Buffers() {
		if m != nil {
			buffers[i] = memory18.NewBufferBytes(m.Bytes())
		}
	}
	var children []arrow18.ArrayData
	if nested, ok := of.(arrow18.NestedType); ok {
		for i, f := range nested.Fields() {
			children = append(children, laterData(d.Children()[i], f.Type))
		}
	}
	return array18.NewData(of, d.Len(), buffers, children, d.NullN(), d.Offset())
}

// row is a record for parquet-go, which has no columns to be given.
type row struct {
	Timestamp         *int64            `parquet:"timestamp,timestamp(microsecond)"`
	ObservedTimestamp *int64            `parquet:"observed_timestamp,timestamp(microsecond)"`
	ReceivedFrom      int64             `parquet:"received_from,timestamp(microsecond)"`
	ReceivedTo        int64             `parquet:"received_to,timestamp(microsecond)"`
	SeverityText      *string           `parquet:"severity_text"`
	SeverityNumber    *int32            `parquet:"severity_number"`
	Body              *string           `parquet:"body"`
	BodyRaw           *string           `parquet:"body_raw"`
	Source            string            `parquet:"source"`
	LogName           *string           `parquet:"log_name"`
	Attributes        map[string]string `parquet:"attributes,optional"`
}

// parquetGo fills rows from the columns, which is what a sink would have to do, and copies no text.
func parquetGo(codec pqcompress.Codec) func(*testing.B, []arrow.Record, io.Writer) {
	return func(b *testing.B, records []arrow.Record, w io.Writer) {
		f := pqgo.NewGenericWriter[row](w, pqgo.Compression(codec), pqgo.PageBufferSize(512<<10))
		rows, times, texts := make([]row, lines.BatchRows), make([][2]int64, lines.BatchRows), make([][2]string, lines.BatchRows)
		for i, rec := range records {
			at, seen := rec.Column(0).(*array.Timestamp), rec.Column(1).(*array.Timestamp)
			from, to := rec.Column(2).(*array.Timestamp), rec.Column(3).(*array.Timestamp)
			body, source, name := rec.Column(6).(*array.String), rec.Column(8).(*array.String), rec.Column(9).(*array.String)
			for j := range rows {
				times[j] = [2]int64{int64(at.Value(j)), int64(seen.Value(j))}
				texts[j] = [2]string{body.Value(j), name.Value(j)}
				rows[j] = row{
					ObservedTimestamp: &times[j][1], ReceivedFrom: int64(from.Value(j)), ReceivedTo: int64(to.Value(j)),
					Body: &texts[j][0], Source: source.Value(j), LogName: &texts[j][1],
				}
				if at.IsValid(j) {
					rows[j].Timestamp = &times[j][0]
				}
			}
			_, err := f.Write(rows)
			lines.Check(b, err)
			if i%40 == 39 {
				lines.Check(b, f.Flush())
			}
		}
		lines.Check(b, f.Close())
	}
}
