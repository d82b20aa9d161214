package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// BenchmarkBuild makes the client's records of batches of lines, up to where the client takes them: go test -run - -bench Build ./sinks/kafka.
func BenchmarkBuild(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
		{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
		{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
	}, nil)
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rows.Release()
	const lines = 5000
	size := 0
	for i := range lines {
		line := fmt.Sprintf(`10.1.%d.%d - - [01/Nov/2026:00:00:00 +0000] "GET /api/v2/orders/%d HTTP/1.1" 200 %d "https://shop.example.com/" "Mozilla/5.0 (X11; Linux x86_64)" id=%016x`,
			i%256, i%199, i*7919, i*31, uint64(i)*0x9e3779b97f4a7c15)
		size += len(line)
		rows.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(day.UnixNano() + int64(i)))
		rows.Field(1).(*array.StringBuilder).Append(line)
		rows.Field(2).(*array.StringBuilder).Append("rapid7-download")
		rows.Field(3).(*array.StringBuilder).Append("aee00b66-a543-43dc-b093-53963c2e8f41")
	}
	rec := rows.NewRecord()
	defer rec.Release()
	slice := flow.NewSlice(flow.Partition{Selection: flow.SelectionID{1}, Stream: "events", Key: "aee00b66"}, day, day.Add(time.Hour), 0)
	for _, kind := range []string{valueRaw, valueJSON, valueAvro, valueArrow} {
		b.Run(kind, func(b *testing.B) {
			set := settings{Value: kind, Key: keyPartition, Headers: []string{headerSlice, headerSource, headerStream}, BufferSize: 16 << 20}
			v, err := newValues(set, schema, flow.ColLogID)
			if err != nil {
				b.Fatal(err)
			}
			w := newWriter(&core{set: set, conf: sinks.Config{Source: "rapid7-download"}}, slice, v)
			w.topic, w.limit = "logs", defaultRecord
			messages := 0
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := v.bind(rec); err != nil {
					b.Fatal(err)
				}
				for row := 0; row < lines; {
					c := w.chunk()
					for row < lines && !c.full() {
						next, reason, err := w.encode(c, row)
						if err != nil || reason != "" {
							b.Fatal(err, reason)
						}
						row = next
					}
					c.build()
					messages += len(c.records)
					w.giveBack(c)
				}
			}
			b.ReportMetric(lines, "events/op")
			b.ReportMetric(float64(messages)/float64(b.N), "messages/op")
		})
	}
}
