package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

func TestMain(m *testing.M) {
	testsize.Crowd()
	goleak.VerifyTestMain(m)
}

// midnight is a seam that every test range crosses.
var midnight = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func at(offset int64) time.Time { return midnight.Add(time.Duration(offset) * time.Millisecond) }

func span(from, to int64) flow.Range { return flow.Range{From: at(from), To: at(to)} }

// endTime is far more than any run of a test takes: one that goes round in circles fails its test by it.
const endTime = time.Minute

var logA = Partition{Partition: flow.Partition{Stream: "events", Key: "a"}, Name: "A"}

// bench is a source, sinks and a ledger to run pipelines with.
type bench struct {
	t      *testing.T
	dir    string
	source *fakeSource
	sinks  []*fakeSink
	events []Event
	starts int
	edit   func(*Config)
	during func(Event)

	spoolMax int64 // bytes; 0: without a spool
}

func newBench(t *testing.T, seed uint64, sinkCount int) *bench {
	alloc := memory.NewCheckedAllocator(memory.NewGoAllocator())
	t.Cleanup(func() { alloc.AssertSize(t, 0) })
	b := &bench{t: t, dir: fastDir(t), source: &fakeSource{
		rng: rand.New(rand.NewPCG(seed, 1)), alloc: alloc, maxCut: 20, done: make(chan struct{}),
		now: func() time.Time { return at(3_600_000) },
	}}
	for i := range sinkCount {
		b.sinks = append(b.sinks, &fakeSink{store: newFakeStore(fmt.Sprintf("sink%d", i)), rng: rand.New(rand.NewPCG(seed, uint64(i)+2))})
	}
	return b
}

// fastDir returns a folder in memory where there is such a file system: no test here needs what is written to outlast the machine.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sluice-pipeline-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (b *bench) run(asked flow.Range) (*Summary, error) {
	return b.runWith(context.Background(), asked, nil)
}

func (b *bench) runWith(ctx context.Context, asked flow.Range, drain <-chan struct{}) (*Summary, error) {
	b.t.Helper()
	l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	cfg := b.config(l, asked)
	if b.spoolMax > 0 {
		defer b.openSpool(&cfg)()
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	summary, err := New(cfg).Run(ctx, drain, 5*time.Second)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		b.t.Fatalf("the run didn't end within %s", endTime)
	}
	return summary, err
}

// config is what the bench's runs have, its sinks registered.
func (b *bench) config(l *ledger.Ledger, asked flow.Range) Config {
	b.t.Helper()
	cfg := Config{
		Name: "test", Partitions: []Partition{logA}, From: asked.From, To: asked.To, Lag: time.Minute, Window: 16 << 20, Parallel: 3,
		Attempts: 50, MaxBackoff: time.Millisecond, DeadPath: filepath.Join(b.dir, "dead"), DeadRecord: 1 << 20, Ledger: l,
		Log: slog.New(slog.DiscardHandler), Start: func(context.Context) (Source, error) { b.starts++; return b.source, nil },
		Observe: func(e Event) {
			b.events = append(b.events, e)
			if b.during != nil {
				b.during(e)
			}
		},
	}
	for i, k := range b.sinks {
		cfg.Sinks = append(cfg.Sinks, Sink{Name: fmt.Sprintf("s%d", i), Type: "fake", Sink: k})
		if err := l.RegisterSink(context.Background(), ledger.SinkInfo{Identity: k.Identity(), Pipeline: cfg.Name, Name: "s", Type: "fake", Memory: true}, nil); err != nil {
			b.t.Fatal(err)
		}
	}
	if b.edit != nil {
		b.edit(&cfg)
	}
	return cfg
}

func (b *bench) kinds(kind EventKind) []Event {
	return slices.DeleteFunc(slices.Clone(b.events), func(e Event) bool { return e.Kind != kind })
}

// TestEveryMillisecondOnce is the property that everything else serves: whatever the ranges, cuts, failures, ends of
// runs, doubts and lost ledgers, each sink ends with each asked millisecond exactly once.
func TestEveryMillisecondOnce(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Of[uint64](20, 6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 99))
			b := newBench(t, seed, 1+rng.IntN(2))
			b.source.failRate = 0.25
			if rng.IntN(2) == 0 {
				b.source.limit = 1 + rng.Int64N(10)
			}
			if seed%2 == 1 { // kept on disk, now and then with too little room
				b.spoolMax = 2_000 + rng.Int64N(50_000)
			}
			asked := make([]flow.Ranges, len(b.sinks))
			all := b.sinks
			for range 3 + rng.IntN(4) {
				from := rng.Int64N(80) - 40
				r := span(from, from+1+rng.Int64N(60))
				b.sinks = all
				if len(all) > 1 && rng.IntN(2) == 0 { // a run for one of them only
					b.sinks = all[rng.IntN(2):][:1]
				}
				for _, k := range b.sinks {
					k.failRate = 0.1
				}
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(3) == 0 { // ends in the middle
					n := rng.IntN(8)
					b.during = func(Event) {
						if n--; n < 0 {
							cancel()
						}
					}
				}
				_, _ = b.runWith(ctx, r, nil)
				cancel()
				b.during = nil
				if rng.IntN(4) == 0 {
					b.damageSpool(rng)
				}
				for i, k := range all {
					if slices.Contains(b.sinks, k) {
						asked[i] = asked[i].Add(r)
					}
				}
				if rng.IntN(3) == 0 {
					if err := os.RemoveAll(filepath.Join(b.dir, "state")); err != nil {
						t.Fatal(err)
					}
				}
			}
			b.source.failRate = 0
			for i, k := range all {
				k.failRate = 0
				b.sinks = []*fakeSink{k}
				for _, r := range asked[i] {
					s, err := b.run(r)
					if err != nil || !s.Complete() || s.Failed() {
						t.Fatalf("last run: %+v, %v", s, err)
					}
				}
				// A durable cut runs whole: what it covers beyond the asked range is asked for as well.
				k.store.mu.Lock()
				for _, r := range k.store.receipts {
					asked[i] = asked[i].Add(r.Slice.Range())
				}
				k.store.mu.Unlock()
				k.store.wantExactly(t, asked[i]...)
			}
		})
	}
}

func TestTwoSinksAreReadOnceWhereBothLack(t *testing.T) {
	b := newBench(t, 1, 2)
	both := b.sinks
	b.sinks = both[:1]
	if _, err := b.run(span(-10, 10)); err != nil {
		t.Fatal(err)
	}
	b.sinks, b.source.reads = both, nil
	s, err := b.run(span(-30, 30))
	if err != nil || !s.Complete() {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, k := range both {
		k.store.wantExactly(t, span(-30, 30))
	}
	var read time.Duration
	for _, r := range b.source.reads {
		read += r.Range().Duration()
	}
	if read != 60*time.Millisecond {
		t.Errorf("read %v for two sinks, want each millisecond once: 60ms", read)
	}
	if s.Rows != 60 {
		t.Errorf("summary counts %d rows, want 60", s.Rows)
	}
}

func TestASinkThatFailedIsReadForAlone(t *testing.T) {
	b := newBench(t, 1, 2)
	b.source.maxCut = 1000
	failures := 2
	b.sinks[1].fail = func(op string, _ flow.Slice) error {
		if op == "commit" && failures > 0 {
			failures--
			return errTest
		}
		return nil
	}
	s, err := b.run(span(0, 100))
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, k := range b.sinks {
		k.store.wantExactly(t, span(0, 100))
	}
	for _, e := range b.kinds(Retry) {
		if !slices.Equal(e.Sinks, []string{"s1"}) {
			t.Errorf("retry for %v, want s1 alone", e.Sinks)
		}
	}
}

func TestTheFutureIsNeitherAskedForNorCovered(t *testing.T) {
	tests := []struct {
		name  string
		asked flow.Range
		want  flow.Range
	}{
		{"to left out", flow.Range{From: at(0)}, span(0, 1000)},
		{"to ahead", span(0, 10_000_000), span(0, 1000)},
		{"from ahead", span(2000, 10_000_000), flow.Range{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 1, 1)
			// Lag is a minute. Whole seconds, because this clock stands still: of one that tells milliseconds the pipeline believes that it goes on.
			b.source.now = func() time.Time { return at(1000).Add(time.Minute) }
			if _, err := b.run(tt.asked); err != nil {
				t.Fatal(err)
			}
			b.sinks[0].store.wantExactly(t, tt.want)
			for _, r := range b.source.reads {
				if r.To.After(at(1000)) {
					t.Errorf("asked for %s, after the vendor's now minus lag", r)
				}
			}
		})
	}
}

func TestAToThatHasJustPassedIsWaitedForAndReadWhole(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	first := sync.OnceValue(time.Now) // asked: what a slow machine takes to come so far doesn't count
	b.source.now = func() time.Time { start := first(); return at(-1900).Add(time.Minute).Add(time.Since(start)) }
	s, err := b.run(span(0, 100))
	if err != nil || !s.Complete() {
		t.Fatalf("%+v, %v", s, err)
	}
	b.sinks[0].store.wantExactly(t, span(0, 100))
	if e := b.kinds(Waiting); len(e) == 0 || !strings.HasPrefix(e[0].Message, "lag until ") {
		t.Errorf("waiting events %v, want one that says `lag until`", e)
	}
}

func TestAnAnswerThatIsTooYoungIsNotCommitted(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	late := 0
	b.source.vendor = func() time.Time {
		if late++; late < 3 { // the vendor's clock was set back: the slice isn't closed by the answer's own Date
			return at(99).Add(time.Minute)
		}
		return at(100).Add(time.Minute)
	}
	s, err := b.run(span(0, 100))
	if err != nil || !s.Complete() {
		t.Fatalf("%+v, %v", s, err)
	}
	if late != 3 {
		t.Errorf("opened %d times, want 3: twice too young", late)
	}
	if len(s.Faults) != 0 {
		t.Errorf("faults %v: waiting is not a failure", s.Faults)
	}
}

func TestAClockThatIsSetBackIsNotWaitedFor(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = (20 * time.Hour).Milliseconds()
	b.source.now = func() time.Time { return at(0).Add(48 * time.Hour) }
	// By the answer to the first slice, which ends at midnight, that one is just closed and those that come next aren't begun.
	first := sync.OnceValue(time.Now)
	b.source.vendor = func() time.Time { return at(0).Add(time.Second + time.Since(first())) }
	b.edit = func(c *Config) { c.Lag, c.Parallel = time.Second, 1 }
	s, err := b.run(flow.Range{From: at(-20), To: at(0).Add(24 * time.Hour)})
	if err != nil || s.Failed() {
		t.Fatalf("%v, %+v", err, s)
	}
	held := b.sinks[0].store.heldOf(logA.Partition)
	if len(held) != 1 || !held[0].From.Equal(at(-20)) || held[0].To.Before(at(0)) || held[0].To.After(at(0).Add(time.Minute)) {
		t.Errorf("held %v, want what was closed by the clock that was set back", held)
	}
}

func TestErrorsByKind(t *testing.T) {
	tests := []struct {
		name     string
		err      error
		always   bool
		complete bool
		failed   bool
		stops    bool
		reads    int // 0: not checked
	}{
		{"transient passes", fault.Errorf(fault.Transient, "read", "reset"), false, true, false, false, 0},
		{"throttled is no failure", fault.Errorf(fault.Throttled, "read", "429").After(time.Millisecond), false, true, false, false, 0},
		{"config stops", fault.Errorf(fault.Config, "read", "bad query"), true, false, true, true, 0},
		{"auth is tried once more with a fresh process", fault.Errorf(fault.Auth, "read", "401"), true, false, true, true, 2},
		{"auth may be cured by it", fault.Errorf(fault.Auth, "read", "401"), false, true, false, false, 0},
		{"not found stops the partition", fault.Errorf(fault.NotFound, "read", "404"), true, false, true, false, 1},
		{"unavailable is not a failure", fault.Errorf(fault.Unavailable, "read", "retention"), true, true, false, false, 0},
		{"corrupt is quarantined", fault.Errorf(fault.Corrupt, "read", "gzip"), true, false, true, false, 0},
		{"oversize is quarantined at once", fault.Errorf(fault.Oversize, "read", "2 GiB"), true, false, true, false, 0},
		{"unknown is retried", errTest, false, true, false, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 1, 1)
			b.source.maxCut = 1000
			b.edit = func(c *Config) { c.Attempts, c.Parallel = 3, 1 }
			failed := false
			b.source.fail = func(flow.Slice) error {
				if failed && !tt.always {
					return nil
				}
				failed = true
				return tt.err
			}
			s, err := b.run(span(0, 100))
			if (err != nil) != tt.stops {
				t.Errorf("Run's error = %v, want one: %v", err, tt.stops)
			}
			if s.Complete() != tt.complete || s.Failed() != tt.failed {
				t.Errorf("complete %v failed %v, want %v %v (%+v)", s.Complete(), s.Failed(), tt.complete, tt.failed, s.Faults)
			}
			if tt.reads > 0 && len(b.source.reads) != tt.reads {
				t.Errorf("%d reads, want %d", len(b.source.reads), tt.reads)
			}
		})
	}
}

func TestAMillisecondOverTheCapFailsLoudly(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.fail = func(s flow.Slice) error { return &flow.Truncated{Slice: s, Rows: 10} }
	s, err := b.run(span(0, 2))
	if err != nil || s.Complete() || !s.Failed() || len(s.Faults) != 2 {
		t.Fatalf("summary %+v, %v: want both milliseconds to fail", s, err)
	}
	if !strings.Contains(s.Faults[0].Message, "single millisecond") || s.Faults[0].Hint == "" {
		t.Errorf("fault %+v doesn't say what happened and what to do", s.Faults[0])
	}
	b.sinks[0].store.wantExactly(t)
}

func TestASplitIsDurable(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut, b.source.limit = 1<<40, 10
	b.edit = func(c *Config) { c.Parallel = 1 }
	ctx, cancel := context.WithCancel(context.Background())
	b.during = func(e Event) {
		if e.Kind == Split {
			cancel()
		}
	}
	if _, err := b.runWith(ctx, span(0, 40), nil); err != nil {
		t.Fatal(err)
	}
	first := b.kinds(Split)[0]
	b.during, b.source.reads = nil, nil
	if s, err := b.run(span(0, 40)); err != nil || !s.Complete() {
		t.Fatalf("%+v, %v", s, err)
	}
	if b.source.reads[0].ID != first.Parts[0].ID {
		t.Errorf("the second run began with %s, want the split's first part %s", b.source.reads[0], first.Parts[0])
	}
	b.sinks[0].store.wantExactly(t, span(0, 40))
}

func TestDeadLettersAndRejectedRecordsAreKept(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	deadMs, rejectMs := at(7).UnixMilli(), at(11).UnixMilli()
	b.source.dead = func(ms int64) bool { return ms == deadMs }
	b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(rejectMs) }
	s, err := b.run(span(0, 20))
	if err != nil || !s.Complete() {
		t.Fatalf("%+v, %v", s, err)
	}
	if s.DeadLetters != 2 || !s.TooManyDead || !s.Failed() {
		t.Errorf("summary counts %d dead letters, failed %v; want 2 and true", s.DeadLetters, s.Failed())
	}
	var kept []string
	files, _ := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var rec struct {
				Record string `json:"record"`
				Row    []byte `json:"row"`
				Reason string `json:"reason"`
				Bytes  int    `json:"bytes"`
			}
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatalf("%s: %v in %s", f, err, line)
			}
			if len(rec.Record) != rec.Bytes || (rec.Row == nil) != (rec.Reason == "unfit") {
				t.Fatalf("record %q, %d bytes of a row", rec.Record, len(rec.Row))
			}
			kept = append(kept, rec.Record+" "+rec.Reason)
		}
	}
	slices.Sort(kept)
	want := []string{fmt.Sprintf("%d unfit", deadMs), fmt.Sprintf("%d not wanted", rejectMs)}
	if !slices.Equal(kept, want) {
		t.Errorf("dead letters %q, want %q", kept, want)
	}
	if left, _ := os.ReadDir(filepath.Join(b.dir, "dead", stagingFolder)); len(left) != 0 {
		t.Errorf("%d dead letters are staged still", len(left))
	}
}

// TestStagedDeadLettersAreSettledAtTheStart: what a commit names is published, what none names is swept, whether the sink says so itself or the
// ledger does, which for some knows the sink by another identity in each run.
func TestStagedDeadLettersAreSettledAtTheStart(t *testing.T) {
	t.Run("a sink with a memory", func(t *testing.T) { testStagedDead(t, "sink0", nil) })
	t.Run("without", func(t *testing.T) {
		testStagedDead(t, "sink0", func(c *Config) {
			c.FirstRun = true
			c.Sinks[0].Sink = noMemory{c.Sinks[0].Sink}
		})
	})
	t.Run("for one run", func(t *testing.T) {
		runs := 0
		testStagedDead(t, "pipe0", func(c *Config) {
			k := renamed{noMemory{c.Sinks[0].Sink}, fmt.Sprint("pipe", runs)}
			runs++
			c.Sinks[0].Sink, c.Sinks[0].Type, c.Sinks[0].OneRun = k, "pipe", true
			info := ledger.SinkInfo{Identity: k.identity, Pipeline: c.Name, Name: c.Sinks[0].Name, Type: "pipe"}
			if err := c.Ledger.RegisterSink(context.Background(), info, nil); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// renamed is a sink with another identity.
type renamed struct {
	sinks.Sink
	identity string
}

func (k renamed) Identity() string { return k.identity }

func testStagedDead(t *testing.T, identity string, edit func(*Config)) {
	t.Helper()
	b := newBench(t, 1, 1)
	b.edit = edit
	b.sinks[0].takesTwice = true
	b.source.dead = func(ms int64) bool { return ms == at(7).UnixMilli() }
	if _, err := b.run(span(0, 20)); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(b.dir, "dead")
	published, _ := filepath.Glob(filepath.Join(dead, "s0", "*.ndjson"))
	if len(published) != 1 {
		t.Fatalf("published %v, want one file", published)
	}
	// As a crash between commit and publishing leaves it, with one more that was never committed.
	receipt := b.sinks[0].store.receipts[slices.IndexFunc(b.sinks[0].store.receipts, func(r sinks.Receipt) bool { return r.Dead.Rows == 1 })]
	stageAgain := func(nonce, name string) {
		folder := filepath.Join(dead, stagingFolder, nonce)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		owner, _ := json.Marshal(stagedOwner{1, receipt.Slice, "s0", identity, name})
		if err := errors.Join(os.WriteFile(filepath.Join(folder, stagedSlice), owner, 0o666),
			os.WriteFile(filepath.Join(folder, stagedRecords), []byte("{}\n"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(published[0]); err != nil {
		t.Fatal(err)
	}
	stageAgain("aa", receipt.DeadLetters)
	stageAgain("bb", "s0/another.ndjson")
	if _, err := b.run(span(0, 20)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(published[0]); err != nil {
		t.Errorf("what the commit names wasn't published: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dead, "s0", "another.ndjson")); err == nil {
		t.Error("what no commit names was published")
	}
	if left, _ := os.ReadDir(filepath.Join(dead, stagingFolder)); len(left) != 0 {
		t.Errorf("%d dead letters are staged still", len(left))
	}
}

func TestALogThatLostEntriesStopsThePipeline(t *testing.T) {
	for _, lost := range []string{"the last entry", "the whole day", "another slice in its place"} {
		t.Run(lost, func(t *testing.T) {
			b := newBench(t, 1, 1)
			b.source.maxCut = 1000
			for _, r := range []flow.Range{span(0, 10), span(10, 20)} {
				if _, err := b.run(r); err != nil {
					t.Fatal(err)
				}
			}
			st := b.sinks[0].store
			switch lost {
			case "the last entry":
				st.receipts = st.receipts[:1]
			case "the whole day":
				st.receipts = nil
			default:
				st.receipts[1].Slice = flow.NewSlice(logA.Partition, at(10), at(15), 0)
			}
			b.source.reads = nil
			_, err := b.run(span(0, 30))
			if fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "ledger rebuild") {
				t.Fatalf("Run = %v (hint %q), want a stop that names the remedy", err, fault.HintOf(err))
			}
			if len(b.source.reads) != 0 {
				t.Errorf("%d reads before it stopped", len(b.source.reads))
			}
		})
	}
}

func TestDrainLetsMovingSlicesFinish(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.edit = func(c *Config) { c.Parallel = 1 }
	drain := make(chan struct{})
	closed := false
	b.sinks[0].fail = func(op string, _ flow.Slice) error {
		if op == "commit" && !closed {
			closed = true
			close(drain)
		}
		return nil
	}
	s, err := b.runWith(context.Background(), span(-500, 500), drain)
	if err != nil {
		t.Fatal(err)
	}
	if s.Slices != 1 || s.Failed() || s.Complete() || !s.Stopped {
		t.Errorf("summary %+v: want the moving slice committed, nothing started after it, nothing failed", s)
	}
}

func TestDrainEndsWhatWaits(t *testing.T) {
	b := newBench(t, 1, 1)
	drain := make(chan struct{})
	b.source.fail = func(flow.Slice) error {
		return fault.Errorf(fault.Throttled, "read", "429").After(time.Hour)
	}
	b.during = func(e Event) {
		if e.Kind == Waiting && e.Err != nil {
			b.during = nil
			close(drain)
		}
	}
	start := time.Now()
	s, err := b.runWith(context.Background(), span(0, 10), drain)
	if err != nil || !s.Stopped || s.Failed() {
		t.Errorf("summary %+v, %v", s, err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("drain took %v with nothing but a wait of an hour", took)
	}
}

func TestSlicesOfAPartitionStartInTimeOrder(t *testing.T) {
	b := newBench(t, 3, 1)
	if _, err := b.run(span(-40, 40)); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for _, e := range b.kinds(Planned) {
		if e.Slice.From.Before(last) {
			t.Errorf("%s started after one that begins at %s", e.Slice, last)
		}
		last = e.Slice.From
	}
}

func TestASinkThatPanicsFailsItsSliceOnly(t *testing.T) {
	b := newBench(t, 1, 2)
	b.source.maxCut = 1000
	panics := 1
	b.sinks[0].fail = func(op string, _ flow.Slice) error {
		if op == "append" && panics > 0 {
			panics--
			panic("broken encoder")
		}
		return nil
	}
	s, err := b.run(span(0, 50))
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, k := range b.sinks {
		k.store.wantExactly(t, span(0, 50))
	}
}

// forgetful is a sink whose commit log can't be read.
type forgetful struct{ *fakeSink }

func (forgetful) Committed(context.Context, flow.Gap, func(time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	return func(func(sinks.Receipt, error) bool) { panic("broken log") }
}

func TestASinkThatPanicsAtTheStart(t *testing.T) {
	b := newBench(t, 1, 1)
	b.edit = func(c *Config) { c.Sinks[0].Sink = forgetful{b.sinks[0]} }
	if _, err := b.run(span(0, 50)); fault.KindOf(err) != fault.Bug || !strings.Contains(err.Error(), "read its commit log: panic: broken log") {
		t.Errorf("Run = %v, want the panic as an error", err)
	}
}

func TestASinksOwnErrorIsTold(t *testing.T) {
	b := newBench(t, 1, 2)
	b.source.maxCut = 1000
	full := fault.New(fault.Config, "append", "make room", errors.New("no space left on device"))
	for _, k := range b.sinks {
		k.fail = func(op string, _ flow.Slice) error {
			if op == "append" {
				return full
			}
			return nil
		}
	}
	s, err := b.run(span(0, 100))
	if !errors.Is(err, full) || fault.HintOf(err) != "make room" || len(s.Faults) == 0 {
		t.Errorf("Run = %v, faults %v: want the sinks' own error, which stops the pipeline", err, s.Faults)
	}
}

func TestASinkWhoseReaderHasGoneStopsTheRun(t *testing.T) {
	b := newBench(t, 1, 1)
	gone := fault.New(fault.Canceled, "print records", "", errTest)
	b.sinks[0].fail = func(op string, _ flow.Slice) error {
		if op == "append" {
			return gone
		}
		return nil
	}
	s, err := b.run(span(0, 100))
	if !errors.Is(err, gone) || !s.Stopped || len(s.Faults) != 0 {
		t.Errorf("Run = %v, stopped %v, faults %v: want a stop that charges no slice", err, s.Stopped, s.Faults)
	}
}

func TestRetryStart(t *testing.T) {
	const attempts = 3
	vendor := func(kind fault.Kind) *fault.Error { return fault.Errorf(kind, "list logs", "no") }
	for _, tt := range []struct {
		name     string
		err      error
		failures int
		again    bool
		exactly  time.Duration
	}{
		{"a moment's trouble", vendor(fault.Transient), 1, true, 0},
		{"it stays", vendor(fault.Transient), attempts, false, 0},
		{"wrapped", fmt.Errorf("plugin x: %w", vendor(fault.Transient)), 2, true, 0},
		{"a cut answer", io.ErrUnexpectedEOF, 1, true, 0},
		{"a wait that the vendor names", vendor(fault.Throttled).After(7 * time.Second), attempts + 5, true, 7 * time.Second},
		{"the file is wrong", vendor(fault.Config), 1, false, 0},
		{"the key is wrong", vendor(fault.Auth), 1, false, 0},
		{"it isn't there", vendor(fault.NotFound), 1, false, 0},
		{"a crash", vendor(fault.Crash), 1, false, 0},
		{"the end", context.Canceled, 1, false, 0},
		{"nobody knows", errors.New("?"), 1, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wait, again := RetryStart(tt.err, tt.failures, attempts, time.Minute)
			if again != tt.again || again && wait <= 0 || tt.exactly > 0 && wait != tt.exactly {
				t.Errorf("again %t after %s, want %t after %s", again, wait, tt.again, tt.exactly)
			}
		})
	}
}

// TestAnOverlapIsASinksToTell: a plugin that says of a slice that it overlaps another one is wrong about what it can know: its read has failed, and no
// sink or ledger is to blame.
func TestAnOverlapIsASinksToTell(t *testing.T) {
	b := newBench(t, 8, 1)
	b.edit = func(c *Config) { c.Attempts = 2 }
	b.source.fail = func(flow.Slice) error { return fault.Errorf(fault.Overlap, "read", "says the plugin") }
	s, err := b.run(span(0, 100))
	if err != nil || len(s.Faults) == 0 {
		t.Fatalf("got %v, %+v", err, s)
	}
	for _, f := range s.Faults {
		if f.Kind != fault.Bug || !f.Quarantined || !strings.Contains(f.Message, "says the plugin") || !strings.Contains(f.Hint, "plugin's author") {
			t.Errorf("%+v", f)
		}
	}
}

// TestASinkThatRefusesWithoutReason: the sink is named, not the ledger, whether it keeps an account or not.
func TestASinkThatRefusesWithoutReason(t *testing.T) {
	for _, remembers := range []bool{true, false} {
		b := newBench(t, 8, 1)
		b.sinks[0].fail = func(op string, _ flow.Slice) error {
			if op == "begin" {
				return sinks.ErrOverlap
			}
			return nil
		}
		b.edit = func(c *Config) {
			if !remembers {
				c.FirstRun, c.Sinks[0].Sink = true, noMemory{b.sinks[0]}
			}
		}
		_, err := b.run(span(0, 100))
		if fault.KindOf(err) != fault.Bug || !strings.Contains(fault.HintOf(err), "sink's author") || strings.Contains(err.Error(), "ledger") {
			t.Errorf("remembers %v: got %v; %s", remembers, err, fault.HintOf(err))
		}
	}
}
