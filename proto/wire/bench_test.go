package wire

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/arena"
)

// benchRecord is about 1 MiB of log lines.
func benchRecord() arrow.Record {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: utcNanos, Nullable: true},
		{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "body_raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 5000 {
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("%0200d", i))
		b.Field(2).AppendNull()
	}
	return b.NewRecord()
}

func BenchmarkEncode(b *testing.B) {
	rec := benchRecord()
	l := mustLayout(b, rec.Schema())
	b.ReportAllocs()
	for b.Loop() {
		f, err := l.Encode(rec)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(f.Len()))
		f.Release()
	}
	b.ReportMetric(float64(rec.NumRows()), "events/op")
}

func BenchmarkSend(b *testing.B) {
	rec := benchRecord()
	l := mustLayout(b, rec.Schema())
	c := Codec()
	b.ReportAllocs()
	for b.Loop() {
		f, err := l.Encode(rec)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(f.Len()))
		data, err := c.Marshal(&OutBatch{Frame: f})
		if err != nil {
			b.Fatal(err)
		}
		f.Release()
		data.Free()
	}
	b.ReportMetric(float64(rec.NumRows()), "events/op")
}

func BenchmarkReceive(b *testing.B) {
	rec := benchRecord()
	l := mustLayout(b, rec.Schema())
	f, err := l.Encode(rec)
	if err != nil {
		b.Fatal(err)
	}
	data, err := Codec().Marshal(&OutBatch{Frame: f})
	if err != nil {
		b.Fatal(err)
	}
	cut := pieces(data.Materialize(), 16384)
	c := CodecWith(arena.NewPool(8<<20), nil)
	b.SetBytes(int64(cut.Len()))
	b.ReportAllocs()
	for b.Loop() {
		var in InMessage
		if err := c.Unmarshal(cut, &in); err != nil {
			b.Fatal(err)
		}
		got, err := l.Decode(in.Batch, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		in.Release()
		got.Release()
	}
	b.ReportMetric(float64(rec.NumRows()), "events/op")
}
