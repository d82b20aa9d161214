package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	realkafka "github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/kafka"
)

// records is how many the sink writes in one transaction; Kafka's tool writes twice as many, so that the start of its machine counts less.
const (
	records     = 500_000
	toolRecords = 2 * records
)

// lines are log lines of about 200 bytes.
func lines() []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	paths := []string{"/api/v2/orders", "/health", "/login", "/static/app.js", "/search?q=shoes", "/cart/add"}
	out := make([]string, 20_000)
	for i := range out {
		out[i] = fmt.Sprintf(`10.%d.%d.%d - - [01/Nov/2026:00:%02d:%02d +0000] "GET %s HTTP/1.1" %d %d "https://shop.example.com/" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36" rt=0.%03d id=%016x`,
			rnd.IntN(256), rnd.IntN(256), rnd.IntN(256), rnd.IntN(60), rnd.IntN(60), paths[rnd.IntN(len(paths))], 200+rnd.IntN(4)*100, rnd.IntN(100_000), rnd.IntN(1000), rnd.Uint64())
	}
	return out
}

var stream = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
}, nil)

const batchRows = 8192

func batch(all []string, from int, day time.Time) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, stream)
	defer b.Release()
	for i := range batchRows {
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(day.UnixNano() + int64(from+i)))
		b.Field(1).(*array.StringBuilder).Append(all[(from+i)%len(all)])
		b.Field(2).(*array.StringBuilder).Append("aee00b66-a543-43dc-b093-53963c2e8f41")
	}
	return b.NewRecord()
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report says what half a million records took.
func report(b *testing.B, n, bytes int, wall, used time.Duration) {
	b.Helper()
	b.ReportMetric(float64(n)/wall.Seconds(), "records/s")
	b.ReportMetric(float64(bytes)/1e6/wall.Seconds(), "MB/s")
	b.ReportMetric(used.Seconds()/(float64(n)/1e6), "cpu-s/Mrecord")
	b.ReportMetric(0, "ns/op")
}

func makeTopic(b *testing.B, address, name string) {
	b.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(context.Background(), 6, 1, nil, name); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTransaction writes slices of half a million lines, each in one transaction with its marker.
func BenchmarkTransaction(b *testing.B) {
	broker := realkafka.Start(b, realkafka.Options{})
	all := lines()
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	selection := flow.SelectionID{1}
	run := 0
	for _, value := range []string{"raw", "json", "avro", "arrow"} {
		for _, compression := range []string{"none", "lz4", "zstd"} {
			b.Run("sluice/"+value+"/"+compression, func(b *testing.B) {
				ctx := context.Background()
				run++
				topic := fmt.Sprintf("sluice-%d", run)
				makeTopic(b, broker.Address, topic)
				settings, err := json.Marshal(map[string]any{
					"brokers": []string{broker.Address}, "topic": topic, "value": value, "compression": compression, "key": "none", "headers": []string{},
					"create_topics": map[string]any{"replication": 1},
				})
				if err != nil {
					b.Fatal(err)
				}
				k, err := kafka.Open(ctx, sinks.Config{Settings: settings, Pipeline: "bench", Streams: []sinks.Stream{{Name: "events", Selection: selection, Schema: stream, PartitionBy: "log_id"}}})
				if err != nil {
					b.Fatal(err)
				}
				defer k.Close()
				batches := make([]flow.Batch, 0, len(all)/batchRows+1)
				var sums []flow.Sum
				for i := range cap(batches) {
					rec := batch(all, i*batchRows, day)
					defer rec.Release()
					sum, err := flow.SumRecord(rec)
					if err != nil {
						b.Fatal(err)
					}
					batches, sums = append(batches, flow.Batch{Records: rec}), append(sums, sum)
				}
				var wall, used time.Duration
				n, bytes := 0, 0
				for i := range b.N {
					s := flow.NewSlice(flow.Partition{Selection: selection, Stream: "events", Key: "a"}, day.Add(time.Duration(i)*time.Second), day.Add(time.Duration(i+1)*time.Second), 0)
					begin, before := time.Now(), cpu(b)
					tx, err := k.Begin(ctx, s, 0, stream)
					if err != nil {
						b.Fatal(err)
					}
					var sum flow.Sum
					for j := 0; sum.Rows < records; j++ {
						if _, err := tx.Append(ctx, batches[j%len(batches)]); err != nil {
							b.Fatal(err)
						}
						sum = sum.Plus(sums[j%len(batches)])
					}
					if _, err := tx.Commit(ctx, sinks.Account{Read: sum, Delivered: sum}); err != nil {
						b.Fatal(err)
					}
					wall, used = wall+time.Since(begin), used+cpu(b)-before
					n, bytes = n+int(sum.Rows), bytes+int(sum.Bytes)
				}
				report(b, n, bytes, wall, used)
			})
		}
	}
	payload := filepath.Join(b.TempDir(), "lines")
	if err := os.WriteFile(payload, []byte(strings.Join(all, "\n")), 0o600); err != nil {
		b.Fatal(err)
	}
	size := 0
	for _, l := range all {
		size += len(l)
	}
	for _, compression := range []string{"none", "lz4", "zstd"} {
		b.Run("kafka-producer-perf-test/raw/"+compression, func(b *testing.B) {
			var wall, used time.Duration
			n := 0
			for range b.N {
				run++
				topic := fmt.Sprintf("perf-%d", run)
				makeTopic(b, broker.Address, topic)
				// One transaction for all: its duration is longer than the whole takes.
				cmd := broker.Tool(b, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", strconv.Itoa(toolRecords), "--throughput", "-1",
					"--payload-file", payload, "--transactional-id", topic, "--transaction-duration-ms", "600000",
					"--producer-props", "bootstrap.servers="+broker.Address, "acks=all", "compression.type="+compression, "linger.ms=5", "batch.size=131072", "buffer.memory=67108864")
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Run(); err != nil {
					b.Fatalf("%v\n%s", err, out.String())
				}
				// Its own rate: without the start of its machine.
				last := regexp.MustCompile(`(?m)^` + strconv.Itoa(toolRecords) + ` records sent, ([0-9.]+) records/sec`).FindStringSubmatch(out.String())
				if last == nil {
					b.Fatalf("no rate in\n%s", out.String())
				}
				rate, err := strconv.ParseFloat(last[1], 64)
				if err != nil {
					b.Fatal(err)
				}
				wall += time.Duration(float64(toolRecords) / rate * float64(time.Second))
				used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				n += toolRecords
			}
			report(b, n, n/len(all)*size, wall, used)
		})
	}
}
