package pipeline

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// metered is a vendor that tells 100 bytes for each day of a range, and keeps what it was asked.
type metered struct {
	mu    sync.Mutex
	asked []flow.Range
	err   error
	from  time.Time // what is told begins here
}

func (m *metered) measure(_ context.Context, _ flow.Partition, r flow.Range) ([]flow.Measure, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, r)
	var out []flow.Measure
	for _, d := range r.CutDays() {
		if !d.From.Before(m.from) {
			out = append(out, flow.Measure{Range: d, Rows: -1, Bytes: 100})
		}
	}
	return out, m.err
}

func (m *metered) take() []flow.Range {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.asked
	m.asked = nil
	return out
}

func daysOf(from, to int) flow.Range {
	return flow.Range{From: midnight.AddDate(0, 0, from), To: midnight.AddDate(0, 0, to)}
}

// sampling is a bench whose vendor's clock is set, over a few milliseconds of midnight's day and asked from a day on.
type sampling struct {
	*bench
	vendor *metered
	now    time.Time
	log    bytes.Buffer
}

func newSampling(t *testing.T) *sampling {
	s := &sampling{bench: newBench(t, 1, 1), vendor: &metered{}}
	s.source.measure = s.vendor.measure
	s.source.now = func() time.Time { return s.now }
	return s
}

// sampleOnce asks as a run does that begins at a time.
func (s *sampling) sampleOnce(now time.Time, asked flow.Range) {
	s.t.Helper()
	s.now = now
	l, err := ledger.Open(s.t.Context(), filepath.Join(s.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	cfg := s.config(l, asked)
	cfg.Log = slog.New(slog.NewTextHandler(&s.log, nil))
	r := newRun(cfg)
	defer r.close()
	r.sampleAll(s.t.Context(), s.source, cfg.Partitions, asked, now)
}

func (s *sampling) known(r flow.Range) (bytes []int64) {
	s.t.Helper()
	l, err := ledger.OpenReadOnly(s.t.Context(), filepath.Join(s.dir, "state"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	all, err := l.Measures(s.t.Context(), logA.Partition, r)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range all {
		bytes = append(bytes, m.Bytes)
	}
	return bytes
}

func TestClosedDaysAreSampled(t *testing.T) {
	s := newSampling(t)
	noon := midnight.AddDate(0, 0, 3).Add(12 * time.Hour)
	expect := func(what string, want ...flow.Range) {
		t.Helper()
		if d := cmp.Diff(want, s.vendor.take()); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	asked := flow.Range{From: midnight.Add(6 * time.Hour), To: noon}
	s.sampleOnce(noon, asked)
	expect("three closed days, the one that is asked in part among them", daysOf(0, 3))
	s.sampleOnce(noon.Add(19*time.Hour), flow.Range{From: asked.From, To: noon.Add(19 * time.Hour)})
	expect("once a day")
	// The third day's figure could still grow when it was taken.
	s.sampleOnce(noon.Add(24*time.Hour), flow.Range{From: asked.From, To: noon.Add(24 * time.Hour)})
	expect("what has settled isn't asked for again", daysOf(2, 4))
	if got := s.known(daysOf(2, 3)); len(got) != 2 {
		t.Errorf("the third day has the figures %v, want two", got)
	}
	s.sampleOnce(noon.AddDate(0, 0, 40), flow.Range{From: asked.From, To: noon.AddDate(0, 0, 40)})
	expect("thirty days back, by eight", daysOf(13, 21), daysOf(21, 29), daysOf(29, 37), daysOf(37, 43))
	s.sampleOnce(noon.AddDate(0, 0, 80), asked)
	expect("nothing that was asked is recent enough")
}

func TestSamplesThatAreNotTold(t *testing.T) {
	s := newSampling(t)
	s.vendor.from = midnight.AddDate(0, 0, 1)
	now := midnight.AddDate(0, 0, 5)
	asked := flow.Range{From: midnight, To: midnight.AddDate(0, 0, 3)}
	s.sampleOnce(now, asked)
	if d := cmp.Diff([]int64{-1, 100, 100}, s.known(daysOf(0, 3))); d != "" {
		t.Error(d)
	}
	s.vendor.take()
	s.sampleOnce(now.AddDate(0, 0, 1), asked)
	if got := s.vendor.take(); got != nil {
		t.Errorf("a day that isn't told once it has settled is asked for again: %v", got)
	}
}

func TestSamplingFailsNoRun(t *testing.T) {
	s := newSampling(t)
	s.vendor.err = fault.New(fault.Transient, "read usage", "ask for another key", errors.New("503"))
	now := midnight.AddDate(0, 0, 5)
	asked := flow.Range{From: midnight, To: midnight.AddDate(0, 0, 3)}
	s.sampleOnce(now, asked)
	if !strings.Contains(s.log.String(), "level=WARN") || !strings.Contains(s.log.String(), "ask for another key") {
		t.Errorf("the log says %q", s.log.String())
	}
	s.vendor.take()
	s.sampleOnce(now.Add(30*time.Minute), asked)
	if got := s.vendor.take(); got != nil {
		t.Errorf("asked again at once: %v", got)
	}
	s.vendor.err = nil
	s.sampleOnce(now.Add(sampleAgain), asked)
	if got := s.vendor.take(); len(got) != 1 {
		t.Errorf("not asked again later: %v", got)
	}
}

func TestKeysThatMayNotSeeFiguresAreAskedWeekly(t *testing.T) {
	s := newSampling(t)
	s.vendor.err = fault.New(fault.Auth, "read usage", "ask for another key", errors.New("403"))
	now := midnight.AddDate(0, 0, 5)
	for n := range 15 {
		s.sampleOnce(now.AddDate(0, 0, n), flow.Range{From: midnight, To: now.AddDate(0, 0, n)})
	}
	if got := strings.Count(s.log.String(), "level=WARN"); got != 3 {
		t.Errorf("%d warnings in 15 days, want one a week", got)
	}
}

// TestRunsSample has a whole run sample beside its slices, and end while the vendor doesn't answer.
func TestRunsSample(t *testing.T) {
	s := newSampling(t)
	s.now = midnight.AddDate(0, 0, 3)
	if _, err := s.run(span(-20, 20)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int64{100}, s.known(daysOf(-1, 1))); d != "" {
		t.Error(d)
	}
	if got := s.vendor.take(); len(got) != 1 || got[0] != daysOf(-1, 0) {
		t.Errorf("asked for %v", got)
	}
}

func TestStoppedRunsDontWaitForSamples(t *testing.T) {
	s := newSampling(t)
	s.now = midnight.AddDate(0, 0, 3)
	begun, drain := make(chan struct{}), make(chan struct{})
	s.source.measure = func(ctx context.Context, _ flow.Partition, _ flow.Range) ([]flow.Measure, error) {
		close(begun)
		<-ctx.Done() // as with a budget that is spent
		return nil, ctx.Err()
	}
	s.source.opened = func(flow.Slice) { <-drain }
	go func() { <-begun; close(drain) }()
	l, err := ledger.Open(t.Context(), filepath.Join(s.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := New(s.config(l, span(-20, 20)))
	p.run.sampler.grace = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), endTime)
	defer cancel()
	if _, err := p.Run(ctx, drain, 5*time.Second); err != nil || ctx.Err() != nil {
		t.Fatalf("%v, %v", err, ctx.Err())
	}
}
