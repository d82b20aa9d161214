package verify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/file"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a sink in a folder with a ledger.
type rig struct {
	t      *testing.T
	root   string
	sink   sinks.Sink
	ledger *ledger.Ledger
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, root: filepath.Join(t.TempDir(), "lake")}
	r.sink = r.open(false)
	var err error
	if r.ledger, err = ledger.Open(t.Context(), t.TempDir(), ledger.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.ledger.Close() })
	err = r.ledger.RegisterSink(t.Context(), ledger.SinkInfo{Identity: r.sink.Identity(), Pipeline: "prod", Name: "lake", Type: "file", Memory: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) open(readOnly bool) sinks.Sink {
	r.t.Helper()
	c := sinktest.InFolder(r.root, `"format": "ndjson"`)
	c.ReadOnly = readOnly
	k, err := file.Definition.Open(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = k.Close() })
	return k
}

// commit writes a slice, into the ledger too if it is recorded.
func (r *rig) commit(s flow.Slice, rows int, recorded bool) sinks.Receipt {
	r.t.Helper()
	receipt, err := sinktest.Write(r.t.Context(), r.sink, s, sinktest.Bodies(s, rows))
	if err == nil && recorded {
		err = r.ledger.Record(r.t.Context(), r.sink.Identity(), receipt)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

// verify returns the findings as "kind path".
func (r *rig) verify(change func(c *Config)) (Result, []string) {
	r.t.Helper()
	var got []string
	c := Config{Sink: r.open(true), Ledger: r.ledger, Parallel: 2, Found: func(f Finding) error {
		got = append(got, string(f.Kind)+" "+f.Path)
		return nil
	}}
	if change != nil {
		change(&c)
	}
	result, err := Sink(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(got)
	return result, got
}

func TestSink(t *testing.T) {
	r := newRig(t)
	first := r.commit(sinktest.Hours("one", 0, 1), 10, true)
	r.commit(sinktest.Hours("one", 1, 2), 0, true)
	forgotten := r.commit(sinktest.Hours("one", 2, 3), 5, true)
	r.commit(sinktest.Hours("one", 24, 25), 20, true)
	r.commit(sinktest.Hours("two", 3, 4), 7, true)
	// What was forgotten, and whose file is gone, is no finding.
	forget, err := r.sink.(interface {
		Forget(ctx context.Context, p flow.Partition, day time.Time, entries []uint64) (sinks.Receipt, error)
	}).Forget(t.Context(), forgotten.Slice.Partition, sinktest.Day, []uint64{forgotten.Entry})
	if err == nil {
		err = r.ledger.Record(t.Context(), r.sink.Identity(), forget)
	}
	if err == nil {
		err = os.Remove(filepath.Join(r.root, forgotten.Parts[0].Path))
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	result, got := r.verify(func(c *Config) { c.Progress = func(Result) { seen++ } })
	if len(got) > 0 || result.Slices != 4 || result.Rows != 37 || result.Parts != 3 || seen != 4 {
		t.Errorf("%+v, %q", result, got)
	}
	result, got = r.verify(func(c *Config) {
		c.Range = flow.Range{From: sinktest.Day.Add(24 * time.Hour), To: sinktest.Day.Add(48 * time.Hour)}
	})
	if len(got) > 0 || result.Slices != 1 || result.Rows != 20 {
		t.Errorf("the second day: %+v, %q", result, got)
	}
	if result, got = r.verify(func(c *Config) { c.Streams = []string{"other"} }); len(got) > 0 || result.Slices != 0 {
		t.Errorf("another stream: %+v, %q", result, got)
	}
	if result, got = r.verify(func(c *Config) { c.Ledger = nil }); len(got) > 0 || result.Slices != 4 {
		t.Errorf("without a ledger: %+v, %q", result, got)
	}

	stray := strings.TrimSuffix(first.Parts[0].Path, ".ndjson") + ".bak.ndjson"
	b, err := os.ReadFile(filepath.Join(r.root, first.Parts[0].Path))
	if err == nil {
		err = os.WriteFile(filepath.Join(r.root, stray), b, 0o666)
	}
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(filepath.Join(r.root, first.Parts[0].Path), b, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	result, got = r.verify(nil)
	if diff := cmp.Diff([]string{"changed " + first.Parts[0].Path, "doubled " + stray}, got); diff != "" || result.Findings != 2 {
		t.Errorf("%+v (-want +got):\n%s", result, diff)
	}
	c := Config{Sink: r.open(true), Found: func(Finding) error { return os.ErrClosed }}
	if _, err := Sink(t.Context(), c); err == nil {
		t.Error("an error of Found didn't end it")
	}
}

// TestLedger has the ledger lack, and hold, what the sink doesn't.
func TestLedger(t *testing.T) {
	r := newRig(t)
	r.commit(sinktest.Hours("one", 0, 1), 3, true)
	late := r.commit(sinktest.Hours("one", 1, 2), 3, false)
	if _, got := r.verify(nil); len(got) != 1 || !strings.HasPrefix(got[0], "unrecorded ") {
		t.Errorf("%q", got)
	}
	// A host that runs records it after its commit: it is waited for.
	_, got := r.verify(func(c *Config) {
		c.Running = true
		c.waits = func() {
			if err := r.ledger.Record(t.Context(), r.sink.Identity(), late); err != nil {
				t.Error(err)
			}
		}
	})
	if len(got) > 0 {
		t.Errorf("beside a host: %q", got)
	}
	s := sinktest.Hours("one", 2, 3)
	gone := sinks.Receipt{Slice: s, Entry: 3, Delivered: sinktest.Account(sinktest.Bodies(s, 2)).Delivered, At: time.Now()}
	if err := r.ledger.Record(t.Context(), r.sink.Identity(), gone); err != nil {
		t.Fatal(err)
	}
	if _, got := r.verify(nil); len(got) != 1 || !strings.HasPrefix(got[0], "lost ") {
		t.Errorf("%q", got)
	}
}

// TestCompare says what has become of a span at the vendor, whatever revisions and dead letters it has.
func TestCompare(t *testing.T) {
	sum := func(from, to int) (s flow.Sum) {
		for i := from; i < to; i++ {
			s.Add(fmt.Appendf(nil, "record %d", i))
		}
		return s
	}
	whole := sinktest.Hours("one", 0, 4)
	rev := func(n uint32) flow.Slice { return flow.NewSlice(whole.Partition, whole.From, whole.To, n) }
	for name, tt := range map[string]struct {
		receipts []sinks.Receipt
		vendor   flow.Sum
		how      string
		rows     uint64
	}{
		"same":                  {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 10)}}, sum(0, 10), Same, 0},
		"more":                  {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 10)}}, sum(0, 22), More, 12},
		"fewer":                 {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 10)}}, sum(0, 9), Fewer, 1},
		"others":                {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 10)}}, sum(1, 11), Others, 0},
		"dead letters":          {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 8), Dead: sum(8, 10)}}, sum(0, 10), Same, 0},
		"late":                  {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 8)}, {Slice: rev(1), Delivered: sum(8, 10)}}, sum(0, 10), Same, 0},
		"dead letters again":    {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 8), Dead: sum(8, 10)}, {Slice: rev(1), Delivered: sum(8, 10)}}, sum(0, 10), Same, 0},
		"some of them again":    {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 7), Dead: sum(7, 10)}, {Slice: rev(1), Delivered: sum(8, 9), Dead: sum(7, 8)}}, sum(0, 10), Same, 0},
		"again, and late":       {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 8), Dead: sum(8, 10)}, {Slice: rev(1), Delivered: sum(10, 12)}, {Slice: rev(2), Delivered: sum(8, 10)}}, sum(0, 12), Same, 0},
		"again, and more since": {[]sinks.Receipt{{Slice: whole, Delivered: sum(0, 8), Dead: sum(8, 10)}, {Slice: rev(1), Delivered: sum(8, 10)}}, sum(0, 13), More, 3},
		"two slices, one revision": {[]sinks.Receipt{
			{Slice: sinktest.Hours("one", 2, 4), Delivered: sum(5, 10)}, {Slice: sinktest.Hours("one", 0, 2), Delivered: sum(0, 5)}, {Slice: rev(1), Delivered: sum(10, 11)},
		}, sum(0, 11), Same, 0},
	} {
		spans := Spans(tt.receipts)
		if len(spans) != 1 || spans[0].Range() != whole.Range() {
			t.Fatalf("%s: %d spans", name, len(spans))
		}
		if how, rows := spans[0].Compare(tt.vendor); how != tt.how || rows != tt.rows {
			t.Errorf("%s: %s %d, want %s %d", name, how, rows, tt.how, tt.rows)
		}
		if what, hint := Drift(tt.how, tt.rows); (what == "") != (tt.how == Same) || (hint == "") != (tt.how == Same) {
			t.Errorf("%s: %q, %q", name, what, hint)
		}
	}
	apart := Spans([]sinks.Receipt{{Slice: sinktest.Hours("one", 1, 2)}, {Slice: sinktest.Hours("one", 0, 1)}, {Slice: sinktest.Hours("one", 3, 4)}})
	if len(apart) != 3 || apart[0].Slices()[0] != sinktest.Hours("one", 0, 1) {
		t.Errorf("%+v", apart)
	}
}

// gapped is a sink whose audits don't compare what they hand on.
type gapped struct {
	sinks.Sink
	sinks.Memory
	sinks.Lister
	drop int
}

func (g gapped) Audit(ctx context.Context, r sinks.Receipt, each func(flow.Sum) error) ([]sinks.Finding, error) {
	n := 0
	return g.Sink.(sinks.Auditor).Audit(ctx, r, func(s flow.Sum) error {
		if n++; n <= g.drop {
			return nil
		}
		return each(s)
	})
}

// TestRows believes no sink that says nothing is wrong, when the records that it hands over don't add up.
func TestRows(t *testing.T) {
	r := newRig(t)
	r.commit(sinktest.Hours("one", 0, 1), 10, true)
	for drop, want := range map[int]int{0: 0, 1: 1} {
		result, got := r.verify(func(c *Config) {
			c.Sink = gapped{c.Sink, c.Sink.(sinks.Memory), c.Sink.(sinks.Lister), drop}
		})
		if len(got) != want || want == 1 && !strings.HasPrefix(got[0], "differs ") {
			t.Errorf("%d records were kept back: %+v, %q", drop, result, got)
		}
	}
}
