package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
)

// predict asks with a ledger that is read only.
func (b *bench) predict(asked flow.Range) Forecast {
	b.t.Helper()
	l, err := ledger.OpenReadOnly(context.Background(), filepath.Join(b.dir, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	cfg := Config{
		Name: "test", Partitions: []Partition{logA}, From: asked.From, To: asked.To, Lag: time.Minute, Window: 16 << 20, Parallel: 3,
		Ledger: l, Log: slog.New(slog.DiscardHandler), Start: func(context.Context) (Source, error) { return b.source, nil },
	}
	for i, k := range b.sinks {
		cfg.Sinks = append(cfg.Sinks, Sink{Name: fmt.Sprintf("s%d", i), Type: "fake", Sink: k})
	}
	f, err := Predict(context.Background(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// covers returns what the slices of a forecast cover by sink, and fails if a sink would get an instant twice.
func covers(t *testing.T, f Forecast) map[string]flow.Ranges {
	t.Helper()
	got := map[string]flow.Ranges{}
	for _, p := range f.Partitions {
		for _, s := range p.Slices {
			for _, name := range s.Sinks {
				if got[name].Meets(s.Range()) {
					t.Errorf("%s would get part of %s twice", name, s)
				}
				got[name] = got[name].Add(s.Range())
			}
		}
	}
	return got
}

func TestPredict(t *testing.T) {
	asked := span(-200, 200)
	b := newBench(t, 1, 2)
	both := b.sinks
	b.sinks = both[:1]
	if _, err := b.run(span(-150, -50)); err != nil { // the first sink has something that the second lacks
		t.Fatal(err)
	}
	b.sinks = both
	reads := len(b.source.reads)
	before, err := os.ReadFile(filepath.Join(b.dir, "state", ledger.FileName))
	if err != nil {
		t.Fatal(err)
	}

	f := b.predict(asked)
	want := map[string]flow.Ranges{"s0": {span(-200, -150), span(-50, 200)}, "s1": {asked}}
	if diff := cmp.Diff(want, covers(t, f)); diff != "" {
		t.Errorf("slices (-want +got):\n%s", diff)
	}
	p := f.Partitions[0]
	if f.Range != asked || p.Missing != asked.Duration() || p.Unavailable != 0 {
		t.Errorf("got range %s, missing %s, unavailable %s", f.Range, p.Missing, p.Unavailable)
	}
	if !slices.IsSortedFunc(p.Slices, func(a, b PlannedSlice) int { return a.From.Compare(b.From) }) {
		t.Error("slices aren't in time order")
	}
	// A millisecond holds one record, and what lies in both gaps is read once.
	if want := uint64(asked.Duration().Milliseconds()); !p.Known || p.Rows < want-uint64(len(p.Slices)) || p.Rows > want {
		t.Errorf("got %d rows (known: %t), want about %d", p.Rows, p.Known, want)
	}
	if len(b.source.reads) != reads {
		t.Errorf("%d slices were read", len(b.source.reads)-reads)
	}
	after, err := os.ReadFile(filepath.Join(b.dir, "state", ledger.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the ledger was changed")
	}

	if _, err := b.run(asked); err != nil {
		t.Fatal(err)
	}
	if got := covers(t, b.predict(asked)); len(got) > 0 {
		t.Errorf("after the run: got %v", got)
	}
}

// TestPredictCuts: a cut that was begun runs again whole, and is said to.
func TestPredictCuts(t *testing.T) {
	b := newBench(t, 2, 1)
	ctx := context.Background()
	cut := flow.NewSlice(logA.Partition, at(10), at(30), 0)
	gone := flow.Range{From: at(60), To: at(80)}
	l, err := ledger.Open(ctx, filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		l.RegisterSink(ctx, ledger.SinkInfo{Identity: "sink0", Name: "s", Type: "fake", Memory: true}, nil),
		l.Begin(ctx, []string{"sink0"}, cut, 0),
		l.MarkUnavailable(ctx, logA.Partition, gone, "too old"),
		l.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := b.predict(span(0, 100))
	p := f.Partitions[0]
	if diff := cmp.Diff(map[string]flow.Ranges{"s0": {span(0, 60), span(80, 100)}}, covers(t, f)); diff != "" {
		t.Errorf("slices (-want +got):\n%s", diff)
	}
	i := slices.IndexFunc(p.Slices, func(s PlannedSlice) bool { return s.ID == cut.ID })
	if i < 0 || !p.Slices[i].Begun {
		t.Errorf("the begun cut isn't among %v", p.Slices)
	}
	if p.Known || p.Unavailable != gone.Duration() {
		t.Errorf("got known %t, unavailable %s", p.Known, p.Unavailable)
	}
}
