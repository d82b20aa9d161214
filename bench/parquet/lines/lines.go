// Package lines has the batches of log lines that writers of Parquet are compared on, and measures a writer.
package lines

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

var microseconds = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

// Schema is a log stream's, with microseconds, so that no contender has to convert.
var Schema = arrow.NewSchema([]arrow.Field{
	{Name: "timestamp", Type: microseconds, Nullable: true},
	{Name: "observed_timestamp", Type: microseconds, Nullable: true},
	{Name: "received_from", Type: microseconds},
	{Name: "received_to", Type: microseconds},
	{Name: "severity_text", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "severity_number", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "body_raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	{Name: "source", Type: arrow.BinaryTypes.String},
	{Name: "log_name", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "attributes", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
}, nil)

// line is a line of syslog, of a web server, or of an application that writes JSON.
func line(r *rand.Rand, i int) string {
	switch i % 3 {
	case 0:
		return fmt.Sprintf("<%d>Nov  1 12:%02d:%02d host-%03d.example.com sshd[%d]: Accepted publickey for user%d from 10.%d.%d.%d port %d ssh2: RSA SHA256:%016x%016x",
			r.IntN(190), i/60%60, i%60, r.IntN(200), r.IntN(32768), r.IntN(500), r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(65536), r.Uint64(), r.Uint64())
	case 1:
		return fmt.Sprintf(`10.%d.%d.%d - user%d [01/Nov/2026:12:%02d:%02d +0000] "GET /api/v1/items/%d?page=%d HTTP/1.1" %d %d "https://example.com/list/%d" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36" rt=0.%03d`,
			r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(500), i/60%60, i%60, r.IntN(100000), r.IntN(50), []int{200, 200, 200, 304, 404, 500}[r.IntN(6)],
			r.IntN(100000), r.IntN(1000), 90+r.IntN(40), r.IntN(1000))
	}
	return fmt.Sprintf(`{"time":"2026-11-01T12:%02d:%02d.%06dZ","level":"%s","service":"svc-%d","trace_id":"%016x%016x","msg":"request finished","duration_ms":%d,"status":%d,"path":"/v2/orders/%d"}`,
		i/60%60, i%60, r.IntN(1e6), []string{"info", "warn", "error", "debug"}[r.IntN(4)], r.IntN(20), r.Uint64(), r.Uint64(), r.IntN(5000), 200+r.IntN(300), r.IntN(1e6))
}

// BatchRows is the rows of a batch.
const BatchRows = 5000

// Batches returns n batches of about 1 MiB of lines, and how many bytes the lines have.
func Batches(n int) (out []arrow.Record, size int64) {
	r := rand.New(rand.NewPCG(1, 2))
	const at = 1793534400000000
	for range n {
		b := array.NewRecordBuilder(memory.DefaultAllocator, Schema)
		for i := range BatchRows {
			l := line(r, i)
			size += int64(len(l))
			if i%7 == 3 {
				b.Field(0).AppendNull()
			} else {
				b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at + int64(i)*1000 + r.Int64N(1000)))
			}
			for c := 1; c < 4; c++ {
				b.Field(c).(*array.TimestampBuilder).Append(at)
			}
			b.Field(4).AppendNull()
			b.Field(5).AppendNull()
			b.Field(6).(*array.StringBuilder).Append(l)
			b.Field(7).AppendNull()
			b.Field(8).(*array.StringBuilder).Append("rapid7-download")
			b.Field(9).(*array.StringBuilder).Append("web-frontend")
			b.Field(10).AppendNull()
		}
		out = append(out, b.NewRecord())
		b.Release()
	}
	return out, size
}

// counter counts the bytes of a file.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// Measure reports a writer's CPU time per GB of lines and its file's size as a part of theirs.
func Measure(b *testing.B, records []arrow.Record, size int64, write func(b *testing.B, records []arrow.Record, w io.Writer)) {
	var w counter
	runtime.GC()
	begin := cpu(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w = counter{}
		write(b, records, &w)
	}
	used := cpu(b) - begin
	b.ReportMetric(used.Seconds()/float64(int64(b.N)*size)*1e9, "CPU-s/GB")
	b.ReportMetric(float64(w.n)/float64(size), "size")
	b.ReportMetric(float64(len(records)*BatchRows), "events/op")
}

// cpu is this process's time, all threads'.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Check ends a benchmark that fails.
func Check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}
