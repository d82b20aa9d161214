package flow

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// BenchmarkSumRecord is the digest of a batch of log lines, which source and host compute once each.
func BenchmarkSumRecord(b *testing.B) {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: ColBody, Type: arrow.BinaryTypes.String}}, nil))
	defer builder.Release()
	const rows, length = 5000, 213
	for i := range rows {
		builder.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%0*d", length, i))
	}
	rec := builder.NewRecord()
	defer rec.Release()
	b.SetBytes(rows * length)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := SumRecord(rec); err != nil {
			b.Fatal(err)
		}
	}
}
