package ledger

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// model is a sink's coverage by the minute, and what is planned or begun.
type model struct {
	covered  map[int]int // times, per minute
	cuts     map[flow.SliceID]flow.Slice
	receipts map[uint64]sinks.Receipt // of the one day, by entry
	entry    uint64
}

func (m *model) ranges() flow.Ranges {
	var all []flow.Range
	for minute := range 24 * 60 {
		if m.covered[minute] > 0 {
			all = append(all, minutes(minute, minute+1).Range())
		}
	}
	return flow.NewRanges(all...)
}

func (m *model) mark(s flow.Slice, by int) {
	for at := s.From; at.Before(s.To); at = at.Add(time.Minute) {
		m.covered[int(at.Sub(day0)/time.Minute)] += by
	}
}

func (m *model) sweep() {
	covered := m.ranges()
	for id, c := range m.cuts {
		if covered.Covers(c.Range()) {
			delete(m.cuts, id)
		}
	}
}

func (m *model) sortedCuts() []flow.Slice {
	all := make([]flow.Slice, 0, len(m.cuts))
	for _, c := range m.cuts {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b flow.Slice) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return a.To.Compare(b.To)
	})
	return all
}

// TestCoverageAgainstModel runs random plans, begins, splits, commits (overlapping ones too), forgets and reopenings against a model
// that counts minutes.
func TestCoverageAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		l := open(t, dir)
		m := &model{covered: map[int]int{}, cuts: map[flow.SliceID]flow.Slice{}, receipts: map[uint64]sinks.Receipt{}}
		committed := func(s flow.Slice) bool {
			for _, r := range m.receipts {
				if r.Slice.ID == s.ID {
					return true
				}
			}
			return false
		}
		for range 100 {
			from := rng.IntN(100)
			s := minutes(from, from+1+rng.IntN(20))
			switch rng.IntN(8) {
			case 0, 1, 2:
				if committed(s) {
					continue
				}
				m.entry++
				r := receipt(s, m.entry)
				must(t, l.Record(t.Context(), "A", r))
				if rng.IntN(2) == 0 {
					must(t, l.Record(t.Context(), "A", r))
				}
				m.receipts[m.entry] = r
				delete(m.cuts, s.ID)
				m.mark(s, 1)
				// Only cuts that meet the commit are looked at, and no other can have become covered by it.
				m.sweep()
			case 3:
				if committed(s) {
					continue
				}
				must(t, l.Plan(t.Context(), []string{"A"}, []flow.Slice{s}))
				m.cuts[s.ID] = s
				if m.ranges().Covers(s.Range()) {
					must(t, l.GiveUp(t.Context(), []string{"A"}, s, "covered"))
					delete(m.cuts, s.ID)
				}
			case 4:
				err := l.Begin(t.Context(), []string{"A"}, s, 1)
				if committed(s) != errors.Is(err, ErrCommitted) {
					t.Fatalf("seed %d: begin: %v, committed %v", seed, err, committed(s))
				}
				if err == nil && m.ranges().Covers(s.Range()) {
					must(t, l.GiveUp(t.Context(), []string{"A"}, s, "covered"))
				} else if err == nil {
					m.cuts[s.ID] = s
				}
			case 5:
				if cuts := m.sortedCuts(); len(cuts) > 0 {
					c := cuts[rng.IntN(len(cuts))]
					ranges := c.Range().Cut(3)
					if len(ranges) < 2 {
						continue
					}
					var parts []flow.Slice
					for _, r := range ranges {
						parts = append(parts, flow.NewSlice(testPartition, r.From, r.To, 0))
					}
					if slices.ContainsFunc(parts, committed) || m.ranges().Meets(c.Range()) {
						continue
					}
					must(t, l.Split(t.Context(), []string{"A"}, c, parts, 5, 50))
					delete(m.cuts, c.ID)
					for _, p := range parts {
						m.cuts[p.ID] = p
					}
				}
			case 6:
				if len(m.receipts) == 0 {
					continue
				}
				var victim uint64
				for victim = range m.receipts {
					break
				}
				m.entry++
				forget := sinks.Receipt{Slice: m.receipts[victim].Slice, Entry: m.entry, Forgets: []uint64{victim}, At: day0}
				gone := m.receipts[victim]
				must(t, l.RecordAll(t.Context(), "A", []sinks.Receipt{forget}))
				// The whole log read again brings nothing back.
				must(t, l.RecordAll(t.Context(), "A", []sinks.Receipt{gone, forget}))
				m.mark(gone.Slice, -1)
				delete(m.receipts, victim)
			case 7:
				if rng.IntN(4) == 0 {
					must(t, l.Close())
					l = open(t, dir)
				}
			}
			got, err := l.Coverage(t.Context(), "A", testPartition)
			must(t, err)
			if diff := cmp.Diff(m.ranges(), got); diff != "" {
				t.Fatalf("seed %d: coverage (-want +got):\n%s", seed, diff)
			}
			var cuts []flow.Slice
			have, err := l.Cuts(t.Context(), "A", testPartition)
			must(t, err)
			for _, c := range have {
				cuts = append(cuts, c.Slice)
			}
			if diff := cmp.Diff(m.sortedCuts(), append([]flow.Slice{}, cuts...)); diff != "" {
				t.Fatalf("seed %d: cuts (-want +got):\n%s", seed, diff)
			}
			days, err := l.KnownDays(t.Context(), "A", testPartition)
			must(t, err)
			number := uint64(0)
			for _, k := range days {
				number = max(number, k.Last)
			}
			if number != m.entry {
				t.Fatalf("seed %d: last entry %d, want %d", seed, number, m.entry)
			}
		}
		if other, err := l.Coverage(t.Context(), "B", testPartition); err != nil || other != nil {
			t.Fatalf("sink B: %v, %v", other, err)
		}
		must(t, l.Close())
	}
}

func TestReceiptRoundTrip(t *testing.T) {
	l := open(t, t.TempDir())
	r := receipt(minutes(0, 60), 7)
	r.Dead, r.DeadLetters = flow.Sum{Rows: 2, Bytes: 3, Digest: flow.DigestOf([]byte("x"))}, "dead/1.ndjson"
	late := receipt(flow.NewSlice(testPartition, day0, day0.Add(time.Minute), 1), 8)
	late.Parts = nil
	must(t, l.RecordAll(t.Context(), "A", []sinks.Receipt{r, late}))
	got, err := l.Committed(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff([]sinks.Receipt{r, late}, got); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
	covered, err := l.Coverage(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff(flow.NewRanges(r.Slice.Range()), covered); diff != "" {
		t.Errorf("a later revision makes no coverage (-want +got):\n%s", diff)
	}
	totals, err := l.Totals(t.Context(), "A", testPartition)
	must(t, err)
	want := Totals{Slices: 2, Rows: 20, Bytes: 2000, Dead: 2, Last: r.At}
	if diff := cmp.Diff(want, totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	partitions, err := l.Partitions(t.Context(), "A")
	must(t, err)
	if diff := cmp.Diff([]flow.Partition{testPartition}, partitions); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	days, err := l.KnownDays(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff([]KnownDay{{Day: day0, Last: 8, Slice: late.Slice.ID}}, days); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
	must(t, l.Reset(t.Context(), "A"))
	if got, err := l.Coverage(t.Context(), "A", testPartition); err != nil || got != nil {
		t.Errorf("after the reset: %v, %v", got, err)
	}
	if err := l.Record(t.Context(), "A", r); fault.KindOf(err) != fault.Bug {
		t.Errorf("record for a sink that isn't registered: %v", err)
	}
}

func TestRecordDisagreement(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second sinks.Receipt
	}{
		{"another slice in the entry", receipt(minutes(60, 120), 1)},
		{"the slice in another entry", receipt(minutes(0, 60), 2)},
		{"another content", func() sinks.Receipt {
			r := receipt(minutes(0, 60), 1)
			r.Delivered.Add([]byte("more"))
			return r
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, t.TempDir())
			first := receipt(minutes(0, 60), 1)
			must(t, l.Record(t.Context(), "A", first))
			err := l.Record(t.Context(), "A", tt.second)
			var d *DisagreementError
			if !errors.As(err, &d) || !errors.Is(err, ErrDisagrees) || fault.HintOf(err) != hintRebuild {
				t.Errorf("got %v", err)
			}
			got, err := l.Committed(t.Context(), "A", testPartition)
			must(t, err)
			if diff := cmp.Diff([]sinks.Receipt{first}, got); diff != "" {
				t.Errorf("receipts (-want +got):\n%s", diff)
			}
			must(t, l.Record(t.Context(), "B", tt.second)) // another sink, another log
		})
	}
	t.Run("a sink without memory", func(t *testing.T) {
		l := open(t, t.TempDir())
		again := receipt(minutes(0, 60), 0)
		must(t, l.Record(t.Context(), "A", again))
		again.Delivered.Add([]byte("more"))
		must(t, l.Record(t.Context(), "A", again))
		got, err := l.Committed(t.Context(), "A", testPartition)
		must(t, err)
		if diff := cmp.Diff([]sinks.Receipt{again}, got); diff != "" {
			t.Errorf("receipts (-want +got):\n%s", diff)
		}
	})
}

// TestLaterRevisionsCoverNothing holds for what is remembered as well as for what is read.
func TestLaterRevisionsCoverNothing(t *testing.T) {
	l := open(t, t.TempDir())
	want := flow.Ranges{minutes(0, 60).Range()}
	must(t, l.Record(t.Context(), "A", receipt(minutes(0, 60), 1)))
	for range 2 {
		got, err := l.Coverage(t.Context(), "A", testPartition)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("coverage (-want +got):\n%s", diff)
		}
		late := minutes(120, 180)
		late = flow.NewSlice(testPartition, late.From, late.To, 1)
		must(t, l.Record(t.Context(), "A", receipt(late, 2)))
	}
}

func TestKnownDays(t *testing.T) {
	l := open(t, t.TempDir())
	commit := func(minute int, entry uint64) sinks.Receipt { return receipt(minutes(minute, minute+1), entry) }
	forget := func(day int, entry uint64, entries ...uint64) sinks.Receipt {
		at := day0.AddDate(0, 0, day)
		return sinks.Receipt{Slice: flow.NewSlice(testPartition, at, at.AddDate(0, 0, 1), 0), Entry: entry, Forgets: entries, At: day0}
	}
	const nextDay = 24 * 60
	know := func(day int, r sinks.Receipt, dense bool) KnownDay {
		return KnownDay{Day: day0.AddDate(0, 0, day), Last: r.Entry, Slice: r.Slice.ID, Dense: dense}
	}
	for n, step := range []struct {
		record sinks.Receipt
		want   []KnownDay
	}{
		{commit(0, 1), []KnownDay{know(0, commit(0, 1), true)}},
		{commit(2, 3), []KnownDay{know(0, commit(2, 3), false)}}, // 2 isn't recorded
		{commit(nextDay, 1), []KnownDay{know(0, commit(2, 3), false), know(1, commit(nextDay, 1), true)}},
		{commit(1, 2), []KnownDay{know(0, commit(2, 3), true), know(1, commit(nextDay, 1), true)}},
		{forget(0, 4, 2), []KnownDay{know(0, forget(0, 4), true), know(1, commit(nextDay, 1), true)}}, // 2 is withdrawn, and known
		{commit(5, 6), []KnownDay{know(0, commit(5, 6), false), know(1, commit(nextDay, 1), true)}},
		{commit(4, 5), []KnownDay{know(0, commit(5, 6), true), know(1, commit(nextDay, 1), true)}},
		{forget(1, 2, 1), []KnownDay{know(0, commit(5, 6), true), know(1, forget(1, 2), true)}}, // nothing but what is withdrawn
		{forget(-1, 2, 1), []KnownDay{know(-1, forget(-1, 2), true), know(0, commit(5, 6), true), know(1, forget(1, 2), true)}},
	} {
		must(t, l.Record(t.Context(), "A", step.record))
		got, err := l.KnownDays(t.Context(), "A", testPartition)
		must(t, err)
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", n, diff)
		}
	}
	if got, err := l.KnownDays(t.Context(), "B", testPartition); err != nil || got != nil {
		t.Errorf("of another sink: %v, %v", got, err)
	}
}
