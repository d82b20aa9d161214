package main

import (
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// TestSampleIsDrawnAgain: units that begin alike have one order, so that --seed draws the same ones.
func TestSampleIsDrawnAgain(t *testing.T) {
	t.Parallel()
	units := map[string]*unit{}
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 40 {
		r := flow.Range{From: from, To: from.Add(time.Duration(i+1) * time.Hour)}
		units[r.String()] = &unit{of: r}
	}
	d := &drifter{verification: &verification{}}
	first := d.choose(units)
	for range 5 {
		for i, u := range d.choose(units) {
			if u != first[i] {
				t.Fatalf("the %d. is %s, and was %s", i, u.of, first[i].of)
			}
		}
	}
}

type namedSink struct {
	sinks.Sink
	identity string
}

func (s namedSink) Identity() string { return s.identity }

// TestASinkWithAnotherTargetIsNotLost: where settings lead to a target that the ledger knows, too, nothing is lost; to one that it doesn't, it is.
func TestASinkWithAnotherTargetIsNotLost(t *testing.T) {
	t.Parallel()
	l, err := ledger.Open(t.Context(), t.TempDir(), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	known := ledger.SinkInfo{Identity: "old", Pipeline: "prod", Name: "bus", Type: "kafka", Memory: true}
	for _, id := range []string{"old", "new"} {
		k := known
		k.Identity = id
		if err := l.RegisterSink(t.Context(), k, nil); err != nil {
			t.Fatal(err)
		}
	}
	v := &verification{ledger: l}
	for id, want := range map[string]bool{"old": false, "new": false, "stranger": true} {
		if lost, err := v.lost(t.Context(), known, namedSink{identity: id}); lost != want || err != nil {
			t.Errorf("%s: lost %t, %v, want %t", id, lost, err, want)
		}
	}
}
