package encode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// benchLines are bodies by the kind of work that they make.
var benchLines = map[string]func(i int) string{
	"mixed": func(i int) string { // as from several programs
		switch i % 5 {
		case 0:
			return fmt.Sprintf(`<28>Nov 26 00:00:11 db-replica-2 postfix/smtpd[%d]: retrying after upstream timeout; peer 167.34.199.52 port 13951 conn=4084b33e5caf2d4d seq=13`, i)
		case 1:
			return fmt.Sprintf(`40.176.2.129 - - [26/Nov/2026:00:00:00 +0000] "GET /static/app.%d.js HTTP/1.1" 200 86950 "https://shop.example/inventory" "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0" rt=0.984`, i)
		case 2:
			return fmt.Sprintf(`{"ts":"2026-11-26T00:00:10.105Z","level":"info","service":"pricing","trace":"d9d4bd0cc7215081583dfb6224f582d3","msg":"session refreshed","user":%d,"duration_ms":3392,"labels":{"region":"eu-1","pod":"inventory-6d2eddbc"}}`, i)
		case 3:
			return fmt.Sprintf("2026-11-26T00:00:00.918Z\tWIN-36b0df7b\tService Control Manager\t%d\tInformation\tAn account was successfully logged on. Account: CONTOSO\\svc_checkout Logon Type: 5 Process: C:\\Windows\\System32\\lsass.exe\r", i)
		}
		return fmt.Sprintf("\tat com.example.shop.OrderService.close(OrderService.java:%d)", i)
	},
	"clean":   func(i int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("abcdefgh ", 22)) },
	"quotes":  func(int) string { return strings.Repeat(`"`, 200) },
	"control": func(i int) string { return strings.Repeat(fmt.Sprintf("\x1b[3%dmcolour\x1b[0m ", i%8), 12) },
	"tiny":    func(i int) string { return fmt.Sprint(i % 10) },
	"long":    func(i int) string { return strings.Repeat(fmt.Sprintf(`{"k%d": "some value"}, `, i), 5000) },
}

func BenchmarkNDJSON(b *testing.B) { benchmark(b, NDJSON) }
func BenchmarkCSV(b *testing.B)    { benchmark(b, CSV) }
func BenchmarkRaw(b *testing.B)    { benchmark(b, Raw) }

// benchmark counts the bytes that are written.
func benchmark(b *testing.B, f Format) {
	for _, kind := range []string{"mixed", "clean", "quotes", "control", "tiny", "long"} {
		b.Run(kind, func(b *testing.B) {
			rec := benchRecord(benchLines[kind])
			defer rec.Release()
			e, err := New(f, rec.Schema())
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 0, 320<<10)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = 0
				for row := 0; row < int(rec.NumRows()); {
					if buf, row, err = e.Append(buf[:0], rec, row, 256<<10); err != nil {
						b.Fatal(err)
					}
					size += len(buf)
				}
			}
			b.SetBytes(int64(size))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rec.NumRows()), "ns/row")
		})
	}
}

// benchRecord has the columns that the lines of a log have, and a MiB of lines.
func benchRecord(line func(i int) string) arrow.Record {
	text := arrow.BinaryTypes.String
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "timestamp", Type: ts(arrow.Nanosecond, "UTC"), Nullable: true},
		{Name: "observed_timestamp", Type: ts(arrow.Nanosecond, "UTC")},
		{Name: "received_from", Type: ts(arrow.Nanosecond, "UTC"), Nullable: true},
		{Name: "received_to", Type: ts(arrow.Nanosecond, "UTC"), Nullable: true},
		{Name: "body", Type: text},
		{Name: "body_raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
		{Name: "source", Type: text},
		{Name: "log_id", Type: text},
	}, nil)
	r := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer r.Release()
	const start = 1793491200_000000000
	size := 0
	for i := 0; size < 1<<20; i++ {
		l := line(i)
		size += len(l) + 8
		r.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(start + i*900_000_001))
		for c := 1; c < 4; c++ {
			r.Field(c).(*array.TimestampBuilder).Append(start)
		}
		r.Field(4).(*array.StringBuilder).Append(l)
		r.Field(5).AppendNull()
		r.Field(6).(*array.StringBuilder).Append("rapid7-download")
		r.Field(7).(*array.StringBuilder).Append("aee00b66-a543-43dc-b093-53963c2e8f41")
	}
	return r.NewRecord()
}
