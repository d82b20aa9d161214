package filetest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// benchRows is how many lines BenchmarkFormat writes in one operation, in batches of benchBatch.
const (
	benchRows  = 100_000
	benchBatch = 5000
)

// BenchmarkFormat writes log lines of about 200 bytes into a file that nobody keeps, one file in each operation.
func BenchmarkFormat(b *testing.B, f partfile.Format) {
	at := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	s := arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: at, Nullable: true},
		{Name: flow.ColObservedTimestamp, Type: at, Nullable: true},
		{Name: flow.ColReceivedFrom, Type: at},
		{Name: flow.ColSeverityText, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColBody, Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
		{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
		{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	r := rand.New(rand.NewPCG(1, 2))
	var records []arrow.Record
	size := 0
	for range benchRows / benchBatch {
		rows := array.NewRecordBuilder(memory.DefaultAllocator, s)
		for i := range benchBatch {
			line := fmt.Sprintf(`10.%d.%d.%d - user%d [01/Nov/2026:12:%02d:%02d +0000] "GET /api/v1/items/%d?page=%d HTTP/1.1" %d %d "https://example.com/list/%d" "Mozilla/5.0 (X11; Linux x86_64)" trace=%016x`,
				r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(500), i/60%60, i%60, r.IntN(100000), r.IntN(50), 200+r.IntN(4)*100, r.IntN(100000), r.IntN(1000), r.Uint64())
			size += len(line)
			const begin = 1793534400000000000
			rows.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(begin + int64(i)*1e6 + r.Int64N(1e6)))
			rows.Field(1).(*array.TimestampBuilder).Append(begin)
			rows.Field(2).(*array.TimestampBuilder).Append(begin)
			rows.Field(3).AppendNull()
			rows.Field(4).(*array.StringBuilder).Append(line)
			rows.Field(5).(*array.StringBuilder).Append("rapid7-download")
			rows.Field(6).(*array.StringBuilder).Append("aee00b66-a543-43dc-b093-53963c2e8f41")
			rows.Field(7).AppendNull()
		}
		records = append(records, rows.NewRecord())
		rows.Release()
	}
	check := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	c := f.NewChunk()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var out counter
	for b.Loop() {
		out = 0
		enc, err := f.NewEncoder(partfile.Info{Slice: Slice("x"), Schema: s, PartSize: 1 << 40})
		check(err)
		check(enc.Begin(&out))
		for _, rec := range records {
			for row := 0; row < benchBatch; {
				row, _, err = enc.Fill(c, rec, row)
				check(err)
				if c.Full() {
					check(enc.Write(c))
					c.Reset()
				}
			}
		}
		check(enc.Write(c))
		c.Reset()
		check(enc.Finish())
		enc.Release(false)
	}
	b.ReportMetric(benchRows, "events/op")
	b.ReportMetric(float64(out)/float64(size), "size")
}

// counter counts the bytes of a file.
type counter int

var _ io.Writer = (*counter)(nil)

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
