package pipeline

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const wholeDay = 24 * time.Hour

// day is a whole day, counted from midnight's.
func day(n int) flow.Range {
	from := midnight.Add(time.Duration(n) * wholeDay)
	return flow.Range{From: from, To: from.Add(wholeDay)}
}

func TestAsks(t *testing.T) {
	hours := func(from, to float64) flow.Range {
		h := float64(time.Hour)
		return flow.Range{From: midnight.Add(time.Duration(from * h)), To: midnight.Add(time.Duration(to * h))}
	}
	firstOf := func(n int) flow.Range { return firstMilli(day(n).From) }
	tests := []struct {
		name    string
		stream  Stream
		asked   flow.Range
		horizon float64 // hours
		want    flow.Ranges
	}{
		{"by time", Stream{}, hours(1.5, 30.25), 40, flow.Ranges{hours(1.5, 30.25)}},
		{"whole days: the one that began before, not the one that isn't over", Stream{Granularity: wholeDay}, hours(30, 71), 71, flow.Ranges{hours(24, 48)}},
		{"nothing of a day that isn't over", Stream{Granularity: wholeDay}, hours(1, 23), 23, nil},
		{"before 1970", Stream{Granularity: wholeDay}, flow.Range{From: time.Unix(-1, 0), To: time.Unix(90_000, 0)}, 0, flow.Ranges{{From: time.Unix(-86400, 0).UTC(), To: time.Unix(86400, 0).UTC()}}},
		{"hours", Stream{Granularity: time.Hour}, hours(1.5, 3.5), 3.5, flow.Ranges{hours(1, 3)}},
		{"settling", Stream{Granularity: wholeDay, Settle: wholeDay}, hours(0, 72), 72, flow.Ranges{hours(0, 48)}},
		{"settling, a minute before", Stream{Granularity: wholeDay, Settle: wholeDay}, hours(0, 71.9), 71.9, flow.Ranges{hours(0, 24)}},
		{"settled long ago", Stream{Granularity: wholeDay, Settle: wholeDay}, hours(0, 48), 1000, flow.Ranges{hours(0, 48)}},
		{"all of it settles still", Stream{Settle: wholeDay}, hours(30, 40), 41, nil},
		{"snapshots", Stream{Snapshot: true}, hours(30, 72.1), 72.1, flow.Ranges{firstOf(1), firstOf(2), firstOf(3)}},
		{"a snapshot that isn't due", Stream{Snapshot: true}, flow.Range{From: midnight, To: midnight}, 0, nil},
		{"no snapshot of a day ahead", Stream{Snapshot: true}, hours(36, 36), 24, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.stream.Asks(tt.asked, hours(0, tt.horizon).To)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("asks (-want +got):\n%s", diff)
			}
		})
	}
}

var usageSchema = arrow.NewSchema([]arrow.Field{
	{Name: "day", Type: arrow.BinaryTypes.String},
	{Name: "bytes", Type: arrow.PrimitiveTypes.Int64},
	{Name: "seen", Type: arrow.PrimitiveTypes.Int64},
}, nil)

var usageColumns = []string{"day", "bytes"}

// dailySource cuts days, and serves one record without a text body for each slice.
type dailySource struct {
	*fakeSource
	uncounted bool // the reader doesn't sum the batch
}

func (f dailySource) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	var out []flow.Slice
	for _, r := range g.Range().CutDays() {
		out = append(out, flow.NewSlice(g.Partition, r.From, r.To, 0))
	}
	return out, nil
}

func (f dailySource) Read(_ context.Context, s flow.Slice, _ int64, _ func(time.Time, string)) (Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, s)
	vendor := f.now
	if f.vendor != nil {
		vendor = f.vendor
	}
	return &dailyReader{fakeReader: fakeReader{source: f.fakeSource, slice: s, vendor: vendor()}, uncounted: f.uncounted}, nil
}

type dailyReader struct {
	fakeReader
	uncounted bool
}

func (r *dailyReader) Schema() *arrow.Schema { return usageSchema }

func (r *dailyReader) Next(context.Context) (flow.Item, error) {
	if r.seq > 0 {
		return flow.Item{}, io.EOF
	}
	r.seq++
	b := array.NewRecordBuilder(r.source.alloc, usageSchema)
	defer b.Release()
	b.Field(0).(*array.StringBuilder).Append(r.slice.From.Format(time.DateOnly))
	b.Field(1).(*array.Int64Builder).Append(42)
	b.Field(2).(*array.Int64Builder).Append(time.Now().UnixNano())
	rec := b.NewRecord()
	sum, err := flow.SumColumns(rec, usageColumns)
	if err != nil {
		return flow.Item{}, err
	}
	r.sum = sum
	batch := &flow.Batch{Slice: r.slice.ID, Records: rec, Bytes: 1, Sum: sum}
	if r.uncounted {
		batch.Sum = flow.Sum{}
	}
	r.held++
	return flow.Item{Batch: batch}, nil
}

// streamBench is a bench whose one stream is as given, read when the vendor's clock says now.
func streamBench(t *testing.T, s Stream, now time.Time) *bench {
	b := newBench(t, 1, 1)
	b.source.now = func() time.Time { return now }
	s.DigestColumns = usageColumns
	b.edit = func(c *Config) {
		c.Streams = map[string]Stream{"events": s}
		c.Start = func(context.Context) (Source, error) { return dailySource{fakeSource: b.source}, nil }
	}
	return b
}

func (b *bench) readRanges() flow.Ranges {
	var out flow.Ranges
	for _, s := range b.source.reads {
		out = append(out, s.Range())
	}
	slices.SortFunc(out, func(a, b flow.Range) int { return a.From.Compare(b.From) })
	return out
}

func TestDailyStream(t *testing.T) {
	// Two days and six hours after midnight; a day settles for 24 hours, and the lag is a minute.
	b := streamBench(t, Stream{Granularity: wholeDay, Settle: wholeDay}, midnight.Add(54*time.Hour))
	asked := flow.Range{From: midnight.Add(-30 * time.Hour)} // up to now
	sum, err := b.run(asked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(flow.Ranges{day(-2), day(-1), day(0)}, b.readRanges()); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	if sum.Rows != 3 || len(b.sinks[0].store.bodies) != 3 {
		t.Errorf("%d rows, the sink holds %v", sum.Rows, b.sinks[0].store.bodies)
	}
	for _, tt := range []struct {
		name  string
		after time.Duration // the day has settled
		want  int
	}{{"lag has yet to pass", 0, 0}, {"lag has passed", time.Minute, 1}, {"again", time.Hour, 0}} {
		b.source.reads, b.source.now = nil, func() time.Time { return midnight.Add(72*time.Hour + tt.after) }
		if _, err := b.run(asked); err != nil {
			t.Fatal(err)
		}
		if got := len(b.source.reads); got != tt.want {
			t.Errorf("%s: %d reads, want %d", tt.name, got, tt.want)
		}
	}
}

func TestAnswerThatHasNotSettled(t *testing.T) {
	now := midnight.Add(50 * time.Hour)
	b := streamBench(t, Stream{Granularity: wholeDay, Settle: wholeDay}, now)
	b.source.vendor = func() time.Time { return now.Add(-3 * time.Hour) } // behind what it said before
	ctx, cancel := context.WithCancel(t.Context())
	b.during = func(e Event) {
		if e.Kind == Waiting && strings.Contains(e.Message, "closed in") {
			cancel()
		}
	}
	if _, err := b.runWith(ctx, flow.Range{From: midnight, To: day(0).To}, nil); err != nil && fault.KindOf(err) != fault.Canceled {
		t.Fatal(err)
	}
	if ctx.Err() == nil || len(b.sinks[0].store.receipts) != 0 {
		t.Errorf("a day was committed by an answer that came before it had settled: %v", b.sinks[0].store.receipts)
	}
}

func TestSnapshotStream(t *testing.T) {
	now := midnight.Add(2*wholeDay + 9*time.Hour)
	b := streamBench(t, Stream{Snapshot: true}, now)
	asked := flow.Range{From: midnight.Add(time.Hour)}
	edit := b.edit
	b.edit = func(c *Config) {
		edit(c)
		forecast, err := Predict(t.Context(), *c)
		if err != nil {
			t.Fatal(err)
		}
		if got := forecast.Partitions[0]; len(got.Slices) != 1 || got.Unavailable != 2*time.Millisecond {
			t.Errorf("forecast: %v, unavailable %s; want today's, and two missed", got.Slices, got.Unavailable)
		}
		b.edit = edit
	}
	sum, err := b.run(asked)
	if err != nil {
		t.Fatal(err)
	}
	today := firstMilli(day(2).From)
	if diff := cmp.Diff(flow.Ranges{today}, b.readRanges()); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	if got := sum.Partitions[0]; got.Unavailable.Duration() != 2*time.Millisecond || len(got.Missing) != 0 {
		t.Errorf("unavailable %s, missing %s; want the two days before, and nothing", got.Unavailable, got.Missing)
	}
	b.source.reads = nil
	if _, err := b.run(asked); err != nil || len(b.source.reads) != 0 {
		t.Errorf("the second run of a day: %v, %v", b.source.reads, err)
	}
	b.source.now = func() time.Time { return now.Add(15 * time.Hour).Add(time.Second) } // lag has yet to pass
	if _, err := b.run(asked); err != nil || len(b.source.reads) != 0 {
		t.Errorf("before the next day's is due: %v, %v", b.source.reads, err)
	}
}

func TestSnapshotAnsweredTheNextDay(t *testing.T) {
	b := streamBench(t, Stream{Snapshot: true}, midnight.Add(wholeDay-time.Second))
	b.source.vendor = func() time.Time { return midnight.Add(wholeDay) }
	sum, err := b.run(flow.Range{From: midnight})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.sinks[0].store.receipts) != 0 || sum.Unavailable != time.Millisecond {
		t.Errorf("committed %v, unavailable %s; want nothing, and the day's", b.sinks[0].store.receipts, sum.Unavailable)
	}
	missing := b.kinds(Missing)
	if len(missing) != 1 || !strings.Contains(missing[0].Message, "the day of the snapshot is over") {
		t.Errorf("told %v", missing)
	}
}

func TestRejectedRowsWithoutText(t *testing.T) {
	for _, uncounted := range []bool{false, true} {
		t.Run(fmt.Sprint("uncounted ", uncounted), func(t *testing.T) {
			b := streamBench(t, Stream{Granularity: wholeDay}, midnight.Add(25*time.Hour))
			edit := b.edit
			b.edit = func(c *Config) {
				edit(c)
				c.DeadMax = 10
				c.Start = func(context.Context) (Source, error) {
					return dailySource{fakeSource: b.source, uncounted: uncounted}, nil
				}
			}
			b.sinks[0].reject = func(string) bool { return true }
			sum, err := b.run(flow.Range{From: midnight})
			if err != nil || len(sum.Faults) != 0 {
				t.Fatalf("%v, %v", err, sum.Faults)
			}
			receipts := b.sinks[0].store.receipts
			if len(receipts) != 1 || receipts[0].Dead.Rows != 1 || receipts[0].Delivered.Rows != 0 {
				t.Fatalf("receipts %+v, want one dead letter", receipts)
			}
			files, _ := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson"))
			if len(files) != 1 {
				t.Fatalf("dead letters in %v, want one file", files)
			}
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			var line struct {
				Record string `json:"record_base64"`
			}
			if err := json.Unmarshal(text, &line); err != nil {
				t.Fatal(err)
			}
			row, err := base64.StdEncoding.DecodeString(line.Record)
			if err != nil {
				t.Fatal(err)
			}
			want := "\x01\x00\x00\x00\x0a2026-11-02\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x2a"
			if string(row) != want || flow.SumOf(row) != receipts[0].Dead {
				t.Errorf("dead letter %q, want %q", row, want)
			}
		})
	}
}
