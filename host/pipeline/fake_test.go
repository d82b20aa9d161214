package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var bodySchema = arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}}, nil)

// fakeSource serves one record for each millisecond, whose body is the millisecond. It cuts gaps at random and fails as
// its rates say.
type fakeSource struct {
	mu       sync.Mutex
	rng      *rand.Rand
	alloc    memory.Allocator
	now      func() time.Time
	vendor   func() time.Time // of an answer; now if nil
	maxCut   int64            // milliseconds of a planned slice
	whole    bool             // plans whole days instead
	grid     int64            // a record only at multiples of so many milliseconds; 0: at each
	limit    int64            // more records are truncated; 0: no limit
	failRate float64          // of a read, at a random place
	fail     func(s flow.Slice) error
	done     chan struct{}
	reads    []flow.Slice
	opened   func(s flow.Slice) // called when a read opens
	takes    func(s flow.Slice) // called before a read opens; it may wait
	dead     func(ms int64) bool
	serves   func(ms int64) []string // the records of a millisecond; nil: one, whose body is the millisecond
	stalls   func(s flow.Slice) bool // its read goes on for ever
	crash    func(call string) error // of Plan ("plan") and Now ("now"); nil: neither fails
	measure  func(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error)
}

func (f *fakeSource) Measure(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error) {
	if f.measure == nil {
		return nil, nil
	}
	return f.measure(ctx, p, r)
}

func (f *fakeSource) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crash != nil {
		if err := f.crash("plan"); err != nil {
			return nil, err
		}
	}
	var out []flow.Slice
	at := g.From
	for range 1 + f.rng.IntN(3) {
		to := at.Add(time.Duration(1+f.rng.Int64N(f.maxCut)) * time.Millisecond)
		if end := flow.Day(at).Add(24 * time.Hour); to.After(end) || f.whole {
			to = end
		}
		if to.After(g.To) {
			to = g.To
		}
		if !at.Before(to) {
			break
		}
		out = append(out, flow.NewSlice(g.Partition, at, to, 0))
		at = to
	}
	return out, nil
}

func (f *fakeSource) Close() error          { return nil }
func (f *fakeSource) Done() <-chan struct{} { return f.done }

func (f *fakeSource) Now(context.Context) (time.Time, error) {
	if f.crash != nil {
		if err := f.crash("now"); err != nil {
			return time.Time{}, err
		}
	}
	return f.now(), nil
}

func (f *fakeSource) Read(ctx context.Context, s flow.Slice, _ int64, waiting func(time.Time, string)) (Reader, error) {
	if f.takes != nil {
		f.takes(s)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting(time.Time{}, "vendor")
	f.reads = append(f.reads, s)
	if f.opened != nil {
		f.opened(s)
	}
	if f.fail != nil {
		if err := f.fail(s); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &fakeReader{source: f, slice: s, at: s.From.UnixMilli(), breakAt: -1, vendor: f.now()}
	if f.vendor != nil {
		r.vendor = f.vendor()
	}
	if f.rng.Float64() < f.failRate {
		r.breakAt = s.From.UnixMilli() + f.rng.Int64N(s.Range().Duration().Milliseconds()+1)
	}
	r.step = 1 + f.rng.Int64N(7)
	return r, nil
}

type fakeReader struct {
	source   *fakeSource
	slice    flow.Slice
	vendor   time.Time
	at, step int64
	breakAt  int64
	sum      flow.Sum
	held     int
	seq      uint64
	deadN    uint64
}

func (r *fakeReader) Schema() *arrow.Schema       { return bodySchema }
func (r *fakeReader) VendorTime() time.Time       { return r.vendor }
func (r *fakeReader) Counters() map[string]uint64 { return nil }
func (r *fakeReader) Manifest() flow.Manifest     { return flow.Manifest{Slice: r.slice, Sum: r.sum} }
func (r *fakeReader) Close() error                { return nil }

func (r *fakeReader) Release(it flow.Item) {
	r.held--
	if it.Batch != nil {
		it.Batch.Records.Release()
	}
}

func (r *fakeReader) Next(ctx context.Context) (flow.Item, error) {
	if err := ctx.Err(); err != nil {
		return flow.Item{}, err
	}
	if r.seq > 0 && r.source.stalls != nil && r.source.stalls(r.slice) {
		<-ctx.Done()
		return flow.Item{}, ctx.Err()
	}
	to := r.slice.To.UnixMilli()
	if r.breakAt >= 0 && r.at >= r.breakAt {
		kinds := []fault.Kind{fault.Transient, fault.Crash, fault.Corrupt, fault.Throttled}
		return flow.Item{}, fault.Errorf(kinds[int(r.breakAt)%len(kinds)], "read", "broken at %d", r.at).After(time.Millisecond)
	}
	if limit := r.source.limit; limit > 0 && to-r.slice.From.UnixMilli() > limit && r.at-r.slice.From.UnixMilli() >= limit {
		return flow.Item{}, &flow.Truncated{Slice: r.slice, Rows: uint64(limit)}
	}
	if r.at >= to {
		return flow.Item{}, io.EOF
	}
	if r.source.dead != nil && r.source.dead(r.at) {
		body := fmt.Appendf(nil, "%d", r.at)
		r.sum.Add(body)
		r.at++
		r.held++
		r.deadN++
		return flow.Item{Dead: &flow.DeadPiece{Record: r.deadN - 1, Bytes: body, Last: true, Reason: "unfit"}}, nil
	}
	b := array.NewStringBuilder(r.source.alloc)
	defer b.Release()
	grid := max(r.source.grid, 1)
	r.at += (grid - r.at%grid) % grid
	if r.at >= to {
		return flow.Item{}, io.EOF
	}
	for end := min(to, r.at+r.step*grid); r.at < end; r.at += grid {
		if r.source.dead != nil && r.source.dead(r.at) {
			break
		}
		for _, body := range r.source.bodies(r.at) {
			b.Append(body)
			r.sum.Add([]byte(body))
		}
	}
	col := b.NewArray()
	defer col.Release()
	rec := array.NewRecord(bodySchema, []arrow.Array{col}, int64(col.Len()))
	r.held++
	r.seq++
	return flow.Item{Batch: &flow.Batch{Slice: r.slice.ID, Seq: r.seq - 1, Records: rec, Bytes: 1}}, nil
}

func (f *fakeSource) bodies(ms int64) []string {
	if f.serves != nil {
		return f.serves(ms)
	}
	return []string{fmt.Sprint(ms)}
}

// fakeStore is what a fakeSink holds; it outlives the sink, as a disk does.
type fakeStore struct {
	mu       sync.Mutex
	identity string
	receipts []sinks.Receipt
	bodies   map[string]int // visible records, counted
	slices   map[flow.SliceID][]string
}

func newFakeStore(identity string) *fakeStore {
	return &fakeStore{identity: identity, bodies: map[string]int{}, slices: map[flow.SliceID][]string{}}
}

// fakeSink keeps slices in memory, refuses what is covered, and fails as its rates say.
type fakeSink struct {
	store      *fakeStore
	rng        *rand.Rand
	rngMu      sync.Mutex
	failRate   float64
	reject     func(body string) bool
	fail       func(op string, s flow.Slice) error
	abort      func(s flow.Slice) // called by Abort; it may wait
	late       func()             // called when a commit has taken place, before its answer
	takesTwice bool               // it keeps no account
}

func (k *fakeSink) Identity() string { return k.store.identity }
func (k *fakeSink) Close() error     { return nil }

func (k *fakeSink) chance() bool {
	k.rngMu.Lock()
	defer k.rngMu.Unlock()
	return k.failRate > 0 && k.rng.Float64() < k.failRate
}

func (k *fakeSink) failure(op string, s flow.Slice) error {
	if k.fail != nil {
		if err := k.fail(op, s); err != nil {
			return err
		}
	}
	if k.chance() {
		return fmt.Errorf("%s fails", op)
	}
	return nil
}

func (k *fakeSink) Begin(_ context.Context, s flow.Slice, _ uint32, _ *arrow.Schema) (sinks.Txn, error) {
	if err := k.failure("begin", s); err != nil {
		return nil, err
	}
	return &fakeTxn{sink: k, slice: s}, nil
}

func (k *fakeSink) Lookup(_ context.Context, s flow.Slice) (sinks.Receipt, error) {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	for _, r := range k.store.receipts {
		if r.Slice.ID == s.ID {
			return r, nil
		}
	}
	return sinks.Receipt{}, sinks.ErrNotCommitted
}

func (k *fakeSink) Committed(_ context.Context, g flow.Gap, after func(time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	return func(yield func(sinks.Receipt, error) bool) {
		k.store.mu.Lock()
		all := append([]sinks.Receipt(nil), k.store.receipts...)
		k.store.mu.Unlock()
		for _, r := range all {
			day := flow.Range{From: r.Slice.Day(), To: r.Slice.Day().Add(24 * time.Hour)}
			if r.Slice.Partition != g.Partition || !day.Meets(g.Range()) || after != nil && r.Entry <= after(r.Slice.Day()) {
				continue
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

type fakeTxn struct {
	sink   *fakeSink
	slice  flow.Slice
	bodies []string
	dead   bool
}

func (x *fakeTxn) Append(_ context.Context, b flow.Batch) ([]sinks.Rejected, error) {
	if x.dead {
		return nil, sinks.ErrDead
	}
	if err := x.sink.failure("append", x.slice); err != nil {
		return nil, err
	}
	var rejected []sinks.Rejected
	col := b.Records.Column(0).(*array.String)
	for i := range col.Len() {
		body := string([]byte(col.Value(i)))
		if x.sink.reject != nil && x.sink.reject(body) {
			rejected = append(rejected, sinks.Rejected{Row: i, Reason: "not wanted"})
			continue
		}
		x.bodies = append(x.bodies, body)
	}
	return rejected, nil
}

func (x *fakeTxn) Commit(_ context.Context, a sinks.Account) (sinks.Receipt, error) {
	if x.dead {
		return sinks.Receipt{}, sinks.ErrDead
	}
	x.dead = true
	if err := x.sink.failure("commit", x.slice); err != nil {
		return sinks.Receipt{}, err
	}
	st := x.sink.store
	st.mu.Lock()
	entry := uint64(1)
	for _, r := range st.receipts {
		if r.Slice.Partition != x.slice.Partition {
			continue
		}
		if r.Slice.Range().Meets(x.slice.Range()) && r.Slice.Rev >= x.slice.Rev && !x.sink.takesTwice {
			st.mu.Unlock()
			return sinks.Receipt{}, &sinks.OverlapError{Slice: x.slice, By: r.Slice, Entry: r.Entry}
		}
		if r.Slice.Day().Equal(x.slice.Day()) {
			entry++
		}
	}
	if x.sink.takesTwice {
		entry = 0
	}
	receipt := sinks.Receipt{
		Slice: x.slice, Entry: entry, Delivered: a.Delivered, Dead: a.Dead, DeadLetters: a.DeadLetters, At: time.Now().UTC(),
	}
	st.receipts = append(st.receipts, receipt)
	for _, b := range x.bodies {
		st.bodies[b]++
	}
	st.slices[x.slice.ID] = append(st.slices[x.slice.ID], x.bodies...)
	st.mu.Unlock()
	if x.sink.late != nil {
		x.sink.late()
	}
	if x.sink.chance() {
		return sinks.Receipt{}, sinks.ErrInDoubt
	}
	return receipt, nil
}

func (x *fakeTxn) Abort() error {
	if x.sink.abort != nil && !x.dead {
		x.sink.abort(x.slice)
	}
	x.dead = true
	return nil
}

// wantExactly fails unless the store holds each millisecond of the ranges once and nothing else.
func (st *fakeStore) wantExactly(t *testing.T, ranges ...flow.Range) {
	t.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	n := 0
	for _, r := range ranges {
		for x := r.From.UnixMilli(); x < r.To.UnixMilli(); x++ {
			n++
			if got := st.bodies[fmt.Sprint(x)]; got != 1 {
				t.Fatalf("%s holds millisecond %d %d times", st.identity, x, got)
			}
		}
	}
	if len(st.bodies) != n {
		t.Fatalf("%s holds %d distinct records, want %d", st.identity, len(st.bodies), n)
	}
}

var errTest = errors.New("test")
