package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Audit implements sinks.Auditor.
func (k *fakeSink) Audit(_ context.Context, r sinks.Receipt, each func(flow.Sum) error) ([]sinks.Finding, error) {
	if err := k.failure("audit", r.Slice); err != nil {
		return nil, err
	}
	k.store.mu.Lock()
	bodies := slices.Clone(k.store.slices[r.Slice.ID])
	k.store.mu.Unlock()
	for _, b := range bodies {
		if err := each(flow.SumOf([]byte(b))); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// vendor indexes its records late: each has a time from which on it is served. Several have the same bytes.
type vendor struct {
	now     time.Time
	records map[int64][]lateRecord // by millisecond
}

type lateRecord struct {
	body    string
	indexed time.Time
}

// newVendor makes records for a range: of each millisecond none to three, every fourth with a body that others have too, one in five late
// by up to a day.
func newVendor(seed uint64, r flow.Range) *vendor {
	rng := rand.New(rand.NewPCG(seed, 99))
	v := &vendor{records: map[int64][]lateRecord{}}
	for ms := r.From.UnixMilli(); ms < r.To.UnixMilli(); ms++ {
		for n := range rng.IntN(4) {
			body := fmt.Sprintf("%d/%d", ms, n)
			if rng.IntN(4) == 0 {
				body = fmt.Sprint("again ", rng.IntN(3))
			}
			indexed := time.UnixMilli(ms)
			if rng.IntN(5) == 0 {
				indexed = indexed.Add(time.Duration(rng.Int64N(int64(24 * time.Hour))))
			}
			v.records[ms] = append(v.records[ms], lateRecord{body, indexed})
		}
	}
	return v
}

func (v *vendor) serves(ms int64) []string {
	out := []string{}
	for _, r := range v.records[ms] {
		if !r.indexed.After(v.now) {
			out = append(out, r.body)
		}
	}
	return out
}

// count is how many records of a range are served.
func (v *vendor) count(r flow.Range) (n int64) {
	for ms := r.From.UnixMilli(); ms < r.To.UnixMilli(); ms++ {
		n += int64(len(v.serves(ms)))
	}
	return n
}

// use makes a bench read of the vendor.
func (v *vendor) use(b *bench) {
	b.source.serves, b.source.now = v.serves, func() time.Time { return v.now }
}

// wants fails unless a store holds what is served of a range, each record as often, and nothing else.
func (v *vendor) wants(t *testing.T, st *fakeStore, r flow.Range) {
	t.Helper()
	want := map[string]int{}
	for ms := r.From.UnixMilli(); ms < r.To.UnixMilli(); ms++ {
		for _, body := range v.serves(ms) {
			want[body]++
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if diff := cmp.Diff(want, st.bodies); diff != "" {
		t.Fatalf("%s (-served +held):\n%s", st.identity, diff)
	}
}

// rechecks makes a bench read again after some ages.
func (b *bench) rechecks(edit func(*Config), after ...time.Duration) {
	b.edit = func(c *Config) {
		c.Recheck = Recheck{After: after, Spool: func() (string, error) { return b.dir, nil }}
		if edit != nil {
			edit(c)
		}
	}
}

// TestRecheckFindsLateRecords reads ranges again an hour and a day after their end, for two sinks, of which one lacks nothing of the
// other's: at the end both hold what the vendor serves.
func TestRecheckFindsLateRecords(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			asked := span(-100, 60) // two days
			b, v := newBench(t, seed, 2), newVendor(seed, asked)
			v.use(b)
			b.source.maxCut = 40
			b.rechecks(func(c *Config) { c.Recheck.Memory = 1 }, time.Hour, 24*time.Hour)
			late := uint64(0)
			for _, after := range []time.Duration{2 * time.Minute, 30 * time.Minute, 61*time.Minute + time.Second, 23 * time.Hour, 24*time.Hour + 2*time.Minute, 48 * time.Hour} {
				v.now = asked.To.Add(after)
				before := len(b.source.reads)
				s, err := b.run(asked)
				if err != nil || s.Failed() || !s.Complete() {
					t.Fatalf("%s: %v, %+v", after, err, s)
				}
				late += s.Late.Rows
				switch after {
				case 61*time.Minute + time.Second, 24*time.Hour + 2*time.Minute:
					if s.Late.Rows == 0 || s.Late.Windows == 0 || s.Late.Found == 0 || s.Late.Gone != 0 {
						t.Errorf("%s: %+v", after, s.Late)
					}
					for _, k := range b.sinks {
						v.wants(t, k.store, asked)
					}
				case 2 * time.Minute:
				default:
					if len(b.source.reads) != before || s.Late != (LateSummary{}) {
						t.Errorf("%s: read again: %+v", after, s.Late)
					}
				}
			}
			if late == 0 {
				t.Error("nothing was late")
			}
			if bodies := b.sinks[0].store.bodies; !maps.Equal(bodies, b.sinks[1].store.bodies) {
				t.Error("the sinks differ")
			}
		})
	}
}

// TestRecheckOnceForSeveralAges: a range that passed several ages while nobody looked is read once.
func TestRecheckOnceForSeveralAges(t *testing.T) {
	asked := span(0, 50)
	b, v := newBench(t, 1, 1), newVendor(1, asked)
	v.use(b)
	b.rechecks(nil, time.Hour, 2*time.Hour, 24*time.Hour)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	first := len(b.source.reads)
	v.now = asked.To.Add(30 * time.Hour)
	for range 2 {
		if _, err := b.run(asked); err != nil {
			t.Fatal(err)
		}
	}
	v.wants(t, b.sinks[0].store, asked)
	if got := len(b.source.reads) - first; got != 1 { // the adjacent slices of a day as one
		t.Errorf("%d reads, want 1", got)
	}
}

// TestRecheckLeavesOldRangesAlone: what was old when it was first read has passed its ages.
func TestRecheckLeavesOldRangesAlone(t *testing.T) {
	asked := span(0, 50)
	b, v := newBench(t, 1, 1), newVendor(1, asked)
	v.use(b)
	b.rechecks(nil, time.Hour, 24*time.Hour)
	v.now = asked.To.Add(3 * time.Hour)
	for _, want := range []bool{false, false, true, false} {
		before := len(b.source.reads)
		s, err := b.run(asked)
		if err != nil {
			t.Fatal(err)
		}
		if before > 0 && (len(b.source.reads) > before) != want {
			t.Errorf("at %s %d reads, %+v", v.now.Sub(asked.To), len(b.source.reads)-before, s.Late)
		}
		if before > 0 {
			v.now = asked.To.Add(25 * time.Hour)
		}
	}
	v.wants(t, b.sinks[0].store, asked)
}

// TestRecheckAsked reads everything again when that is asked for, without any age.
func TestRecheckAsked(t *testing.T) {
	asked := span(-30, 50)
	b, v := newBench(t, 1, 1), newVendor(3, asked)
	v.use(b)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	for _, after := range []time.Duration{3 * time.Minute, 5 * time.Hour, 25 * time.Hour, 25 * time.Hour} {
		v.now = asked.To.Add(after)
		s, err := b.run(asked)
		if err != nil || s.Late.Windows != 2 {
			t.Fatalf("%s: %v, %+v", after, err, s.Late)
		}
		v.wants(t, b.sinks[0].store, asked)
	}
}

// TestRecheckOfSinksThatDiffer: each sink is given what it lacks itself, and counts what it has.
func TestRecheckOfSinksThatDiffer(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 2, 3), newVendor(2, asked)
	v.use(b)
	b.source.maxCut = 25
	all := b.sinks
	b.rechecks(nil, 12*time.Hour)
	for n, after := range []time.Duration{2 * time.Minute, 4 * time.Hour, 9 * time.Hour} {
		v.now = asked.To.Add(after)
		b.sinks = all[:n+1] // the second and third come later, and find more
		if _, err := b.run(asked); err != nil {
			t.Fatal(err)
		}
	}
	v.now = asked.To.Add(30 * time.Hour)
	s, err := b.run(asked)
	if err != nil || s.Failed() {
		t.Fatalf("%v, %+v", err, s)
	}
	for _, k := range all {
		v.wants(t, k.store, asked)
	}
}

// TestRecheckUnmoved spares the read when the vendor's count is what was read, and reads when it isn't.
func TestRecheckUnmoved(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 4, 1), newVendor(4, asked)
	v.use(b)
	measured := 0
	b.source.measure = func(_ context.Context, _ flow.Partition, r flow.Range) ([]flow.Measure, error) {
		measured++
		return []flow.Measure{{Range: r, Rows: v.count(r), Bytes: -1}}, nil
	}
	b.rechecks(nil, time.Hour, 24*time.Hour, 48*time.Hour, 72*time.Hour)
	for _, tc := range []struct {
		after         time.Duration
		read, unmoved bool
	}{
		{2 * time.Minute, true, false},
		{2 * time.Hour, true, false},
		{25 * time.Hour, true, false},
		{49 * time.Hour, false, true},
		{50 * time.Hour, false, false},
		{73 * time.Hour, false, true},
	} {
		v.now = asked.To.Add(tc.after)
		before := len(b.source.reads)
		s, err := b.run(asked)
		if err != nil {
			t.Fatal(err)
		}
		if read := len(b.source.reads) > before; read != tc.read || (s.Late.Unmoved > 0) != tc.unmoved {
			t.Errorf("%s: read %v, want %v; %+v", tc.after, read, tc.read, s.Late)
		}
	}
	v.wants(t, b.sinks[0].store, asked)
	if measured == 0 {
		t.Error("nothing was measured")
	}
}

// TestRecheckByUsage compares figures of whole days with those of before the last read.
func TestRecheckByUsage(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 5, 1), newVendor(5, asked)
	v.use(b)
	day := flow.Range{From: flow.Day(asked.From), To: flow.Day(asked.From).Add(24 * time.Hour)}
	overhead := int64(100)
	b.source.measure = func(context.Context, flow.Partition, flow.Range) ([]flow.Measure, error) {
		return []flow.Measure{{Range: day, Rows: -1, Bytes: overhead + 40*v.count(asked)}}, nil
	}
	b.rechecks(nil, time.Hour, 48*time.Hour, 72*time.Hour, 96*time.Hour)
	for _, tc := range []struct {
		after   time.Duration
		read    bool
		unmoved bool
	}{
		{2 * time.Minute, true, false},
		{61 * time.Minute, true, false},
		{49 * time.Hour, true, false},
		{73 * time.Hour, false, true},
		{97 * time.Hour, true, false}, // the figure moved, though nothing is new
	} {
		v.now = asked.To.Add(tc.after)
		if tc.after == 97*time.Hour {
			overhead++
		}
		before := len(b.source.reads)
		s, err := b.run(asked)
		if err != nil {
			t.Fatal(err)
		}
		if read := len(b.source.reads) > before; read != tc.read || (s.Late.Unmoved > 0) != tc.unmoved {
			t.Errorf("%s: read %v, want %v; %+v", tc.after, read, tc.read, s.Late)
		}
	}
	v.wants(t, b.sinks[0].store, asked)
	b.edit = func(c *Config) { c.Recheck = Recheck{After: []time.Duration{120 * time.Hour}, Always: true} }
	v.now = asked.To.Add(121 * time.Hour)
	if s, err := b.run(asked); err != nil || s.Late.Windows != 1 || s.Late.Unmoved != 0 {
		t.Errorf("always: %v, %+v", err, s.Late)
	}
}

// TestRecheckWithoutLedger doubles nothing after the ledger was lost: what the sink holds is asked of the sink.
func TestRecheckWithoutLedger(t *testing.T) {
	asked := span(-20, 40)
	b, v := newBench(t, 6, 2), newVendor(6, asked)
	v.use(b)
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	for _, after := range []time.Duration{2 * time.Minute, time.Hour, 9 * time.Hour, 9 * time.Hour, 30 * time.Hour} {
		v.now = asked.To.Add(after)
		s, err := b.run(asked)
		if err != nil || s.Failed() {
			t.Fatalf("%s: %v, %+v", after, err, s)
		}
		for _, k := range b.sinks {
			v.wants(t, k.store, asked)
		}
		if err := os.RemoveAll(filepath.Join(b.dir, "state")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecheckCutOff reads a range in parts when the vendor cuts the answer off, and commits it as one.
func TestRecheckCutOff(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 7, 1), newVendor(7, asked)
	v.use(b)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	b.source.limit = 7
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	v.now = asked.To.Add(25 * time.Hour)
	s, err := b.run(asked)
	if err != nil || s.Failed() || s.Late.Windows != 1 || s.Late.Rows == 0 {
		t.Fatalf("%v, %+v", err, s)
	}
	v.wants(t, b.sinks[0].store, asked)
	last := b.sinks[0].store.receipts[len(b.sinks[0].store.receipts)-1]
	if last.Slice.Rev != 1 || last.Slice.Range() != asked {
		t.Errorf("committed as %s", last.Slice)
	}
}

// TestRecheckFailures reads, audits and commits that fail at random end in what the vendor serves, nothing twice.
func TestRecheckFailures(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			asked := span(-40, 40)
			b, v := newBench(t, seed, 2), newVendor(seed, asked)
			v.use(b)
			b.source.failRate = 0.3
			for _, k := range b.sinks {
				k.failRate = 0.1
			}
			b.rechecks(nil, time.Hour, 24*time.Hour)
			for _, after := range []time.Duration{2 * time.Minute, 2 * time.Hour, 25 * time.Hour} {
				v.now = asked.To.Add(after)
				s, err := b.run(asked)
				if err != nil || s.Failed() {
					t.Fatalf("%s: %v, %+v", after, err, s)
				}
				for _, k := range b.sinks {
					v.wants(t, k.store, asked)
				}
			}
		})
	}
}

// TestRecheckCrash ends the run at every step of a recheck; the next one leaves what the vendor serves, and knows what was late.
func TestRecheckCrash(t *testing.T) {
	for _, step := range RecheckSteps() {
		t.Run(string(step), func(t *testing.T) {
			asked := span(0, 40)
			b, v := newBench(t, 8, 1), newVendor(8, asked)
			v.use(b)
			b.source.alloc = memory.NewGoAllocator() // what ends with the process gives nothing back
			b.rechecks(nil, time.Hour)
			v.now = asked.To.Add(2 * time.Minute)
			if _, err := b.run(asked); err != nil {
				t.Fatal(err)
			}
			held := uint64(len(b.sinks[0].store.records()))
			v.now = asked.To.Add(2 * time.Hour)
			b.crashAt(step, asked)
			s, err := b.run(asked)
			if err != nil || s.Failed() {
				t.Fatalf("%v, %+v", err, s)
			}
			v.wants(t, b.sinks[0].store, asked)
			want := uint64(len(b.sinks[0].store.records())) - held
			if got := b.lateTotals(0); got.Rows != want || got.Windows != 1 {
				t.Errorf("the ledger says %+v, want %d rows", got, want)
			}
			before := len(b.source.reads)
			if s, err := b.run(asked); err != nil || len(b.source.reads) != before || s.Late.Windows != 0 {
				t.Errorf("again: %v, %+v", err, s.Late)
			}
		})
	}
}

// records are all bodies of a store.
func (st *fakeStore) records() (out []string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, bodies := range st.slices {
		out = append(out, bodies...)
	}
	return out
}

// crashAt runs until a recheck comes to a step and goes no further, as when the process ends there: the run is left without its end.
func (b *bench) crashAt(step Step, asked flow.Range) {
	b.t.Helper()
	l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	cfg := b.config(l, asked)
	cfg.Parallel = 1
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	reached := false
	r := newRun(cfg)
	r.cfg.Step = func(s Step) {
		if s == step && !reached {
			reached = true
			panic(errTest)
		}
	}
	defer r.close()
	if err := r.prepare(ctx, nil); err != nil {
		b.t.Fatal(err)
	}
	w, err := r.lateWork(ctx)
	if err != nil || w == nil {
		b.t.Fatalf("nothing is due: %v", err)
	}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(errTest) {
				panic(p)
			}
		}()
		r.carry(ctx, w)
	}()
	if !reached {
		b.t.Fatalf("the recheck doesn't come to %s", step)
	}
}

func (b *bench) lateTotals(sink int) ledger.LateTotals {
	b.t.Helper()
	l, err := ledger.OpenReadOnly(context.Background(), filepath.Join(b.dir, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	t, err := l.Late(context.Background(), b.sinks[sink].store.identity)
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

// TestRecheckKnowsDeadLetters: a record that the sink rejected, or that never became one of a batch, isn't late, whether or not it was sent
// again since.
func TestRecheckKnowsDeadLetters(t *testing.T) {
	b, asked := withDead(t, nil)
	b.edit = func(c *Config) {
		c.Recheck = Recheck{Asked: true}
		c.Streams = map[string]Stream{"events": {Schema: bodySchema}}
	}
	reject := b.sinks[0].reject
	b.source.dead = func(ms int64) bool { return ms == at(7).UnixMilli() }
	check := func(when string) {
		t.Helper()
		s, err := b.run(asked)
		if err != nil || s.Late.Rows != 0 || s.Late.Gone != 0 || s.DeadLetters != 0 || s.Late.Windows == 0 {
			t.Fatalf("%s: %v, %+v", when, err, s)
		}
	}
	check("all are there")
	for _, step := range []Step{StepRetryMove, StepRetryLeave, StepRetryEnd} { // one file, or a part of it, is delivered and not put away
		b.sinks[0].reject = nil
		b.retryDead(step)
		b.sinks[0].reject = reject
		check("sent again, up to " + string(step))
	}
	b.sinks[0].reject = nil
	b.retryDead("")
	check("sent again")
}

// TestRecheckTellsWhatIsGone: records that the vendor no longer serves are told, and are no failure.
func TestRecheckTellsWhatIsGone(t *testing.T) {
	asked := span(0, 30)
	b := newBench(t, 9, 1)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	b.source.serves = func(ms int64) []string {
		switch ms - at(0).UnixMilli() {
		case 3, 4:
			return nil // dropped
		case 8:
			return []string{"changed"}
		}
		return []string{fmt.Sprint(ms)}
	}
	s, err := b.run(asked)
	if want := (LateSummary{Windows: 1, Found: 1, Rows: 1, Bytes: 7, Gone: 3}); err != nil || s.Failed() || s.Late != want {
		t.Fatalf("%v, %+v", err, s.Late)
	}
	if got := b.lateTotals(0); got.Gone != 3 || got.Rows != 1 {
		t.Errorf("the ledger says %+v", got)
	}
}

// TestRecheckRefuses: a sink that lacks what it committed isn't sent it again, as if it were late.
func TestRecheckRefuses(t *testing.T) {
	asked := span(0, 30)
	b := newBench(t, 10, 2)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	st := b.sinks[0].store
	for id, bodies := range st.slices {
		st.slices[id] = bodies[:len(bodies)-1]
		break
	}
	held := maps.Clone(st.bodies)
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	s, err := b.run(asked)
	if err != nil || s.Failed() || s.Late.Refused != 1 || s.Late.Rows != 0 {
		t.Fatalf("%v, %+v", err, s)
	}
	if !maps.Equal(held, st.bodies) {
		t.Error("what is gone from the sink was sent again")
	}
}

// TestRecheckLeavesStreamsAlone whose records are replaced, not added to, and sinks that keep no account.
func TestRecheckLeavesStreamsAlone(t *testing.T) {
	for name, s := range map[string]Stream{"snapshot": {Snapshot: true}, "values of a period": {Granularity: time.Hour}} {
		if s.Rechecks() {
			t.Error(name)
		}
	}
	if !(Stream{DigestColumns: []string{"a"}, Settle: time.Hour}).Rechecks() {
		t.Error("a stream of records")
	}
	if Audits(struct{ sinks.Sink }{}) || !Audits(&fakeSink{}) {
		t.Error("which sinks audit")
	}
}

// TestRecheckUnavailable: that the vendor has no more of a range is written down, and no failure.
func TestRecheckUnavailable(t *testing.T) {
	asked := span(0, 30)
	b := newBench(t, 11, 1)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	b.source.fail = func(flow.Slice) error {
		return fault.New(fault.Unavailable, "read", "", errors.New("over 90 days old"))
	}
	s, err := b.run(asked)
	if err != nil || s.Failed() || !s.Complete() || s.Unavailable != 0 {
		t.Fatalf("%v, %+v", err, s)
	}
}

// TestDueAge follows one range through its ages.
func TestDueAge(t *testing.T) {
	to, h := at(0), time.Hour
	after := []time.Duration{h, 24 * h}
	for _, tc := range []struct {
		name          string
		horizon, read time.Duration // after the range's end
		age, next     time.Duration
	}{
		{"young", h / 2, 0, 0, h},
		{"an hour", h, 0, h, 24 * h},
		{"an hour, read since", 2 * h, h, 0, 24 * h},
		{"a day", 24 * h, h, 24 * h, 0},
		{"both at once", 30 * h, 0, 24 * h, 0},
		{"read when it was old", 30 * h, 29 * h, 0, 0},
	} {
		age, next := dueAge(after, to.Add(tc.horizon), to, to.Add(tc.read))
		wantNext := time.Time{}
		if tc.next > 0 {
			wantNext = to.Add(tc.next)
		}
		if age != tc.age || !next.Equal(wantNext) {
			t.Errorf("%s: %s, next %s", tc.name, age, next)
		}
	}
}

// TestRecheckFigureAfterTheRead: a figure that was taken between the read and the recheck says nothing of what came before it.
func TestRecheckFigureAfterTheRead(t *testing.T) {
	asked := span(0, 60)
	b, v := newBench(t, 12, 1), newVendor(12, asked)
	v.use(b)
	day := flow.Range{From: flow.Day(asked.From), To: flow.Day(asked.From).Add(24 * time.Hour)}
	figure := flow.Measure{Range: day, Rows: -1, Bytes: 100}
	b.source.measure = func(context.Context, flow.Partition, flow.Range) ([]flow.Measure, error) {
		return []flow.Measure{figure}, nil
	}
	b.rechecks(nil, 24*time.Hour)
	v.now = asked.To.Add(2 * time.Minute)
	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	figure.Bytes = 200
	l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(l.RecordMeasures(context.Background(), logA.Partition, asked.To.Add(time.Hour), []flow.Measure{figure}), l.Close())
	if err != nil {
		t.Fatal(err)
	}
	v.now = asked.To.Add(25 * time.Hour)
	s, err := b.run(asked)
	if err != nil || s.Late.Unmoved > 0 || s.Late.Rows == 0 {
		t.Fatalf("%v, %+v", err, s.Late)
	}
	v.wants(t, b.sinks[0].store, asked)
}

// TestRecheckWholeEntries: a revision that reaches further than what is due is compared whole, with all that it meets.
func TestRecheckWholeEntries(t *testing.T) {
	asked := flow.Range{From: at(0), To: at(4000)}
	b, v := newBench(t, 13, 1), newVendor(13, asked)
	v.use(b)
	b.source.maxCut = 700
	b.rechecks(func(c *Config) { c.Recheck.Asked = v.now.Sub(asked.To) == 10*time.Minute }, time.Hour)
	for _, after := range []time.Duration{2 * time.Minute, 10 * time.Minute, 61*time.Minute - 2*time.Second} {
		v.now = asked.To.Add(after)
		s, err := b.run(asked)
		if err != nil || s.Failed() {
			t.Fatalf("%s: %v, %+v", after, err, s.Faults)
		}
		if after > 2*time.Minute && s.Late.Rows == 0 {
			t.Errorf("%s: %+v", after, s.Late)
		}
		v.wants(t, b.sinks[0].store, asked)
	}
	last := b.sinks[0].store.receipts[len(b.sinks[0].store.receipts)-1]
	if last.Slice.Rev != 2 || last.Slice.Range() != asked {
		t.Errorf("committed as %s", last.Slice)
	}
}

// TestRecheckPlannedAnew: a sink that refuses a revision, since another took its place, is looked at again, and not for ever.
func TestRecheckPlannedAnew(t *testing.T) {
	for refusals, failed := range map[int]bool{1: false, 100: true} {
		asked := span(0, 40)
		b, v := newBench(t, 14, 1), newVendor(14, asked)
		v.use(b)
		v.now = asked.To.Add(2 * time.Minute)
		if _, err := b.run(asked); err != nil {
			t.Fatal(err)
		}
		b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
		b.sinks[0].fail = func(op string, s flow.Slice) error {
			if op != "commit" || refusals == 0 {
				return nil
			}
			refusals--
			return &sinks.OverlapError{Slice: s, By: s}
		}
		v.now = asked.To.Add(25 * time.Hour)
		s, err := b.run(asked)
		if err != nil || s.Failed() != failed {
			t.Fatalf("%v, %+v", err, s)
		}
		if !failed {
			v.wants(t, b.sinks[0].store, asked)
		}
	}
}

// TestRecheckFigureOfJustNow: a figure that is hardly older than what it is compared with may be the same one told twice, so it spares no read.
func TestRecheckFigureOfJustNow(t *testing.T) {
	for _, tc := range []struct {
		before  time.Duration // the read's, of the figure
		unmoved bool
	}{{time.Minute / 2, false}, {measureApart, true}} {
		asked := span(0, 60)
		b, v := newBench(t, 14, 1), newVendor(14, asked)
		v.use(b)
		day := flow.Range{From: flow.Day(asked.From), To: flow.Day(asked.From).Add(24 * time.Hour)}
		figure := flow.Measure{Range: day, Rows: -1, Bytes: 100}
		b.source.measure = func(context.Context, flow.Partition, flow.Range) ([]flow.Measure, error) {
			return []flow.Measure{figure}, nil
		}
		b.rechecks(nil, time.Hour)
		read := asked.To.Add(time.Hour - time.Second)
		v.now = read
		if _, err := b.run(asked); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(context.Background(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(l.RecordMeasures(context.Background(), logA.Partition, read.Add(-tc.before), []flow.Measure{figure}), l.Close())
		if err != nil {
			t.Fatal(err)
		}
		v.now = asked.To.Add(time.Hour + time.Minute)
		s, err := b.run(asked)
		if err != nil || (s.Late.Unmoved > 0) != tc.unmoved {
			t.Errorf("a figure of %s before the read: %v, %+v", tc.before, err, s.Late)
		}
	}
}
