package object

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestNewSelection: another selection is let in when that is said, lies in a folder of its own, and needs nothing said afterwards.
func TestNewSelection(t *testing.T) {
	b := sinktest.NewBucket()
	first := sinktest.Hours("one", 0, 6)
	carry(t, mustOpen(t, b, nil), first, 3)
	id := first.Selection
	id[0]++
	other := flow.NewSlice(flow.Partition{Selection: id, Stream: first.Stream, Key: first.Key}, first.From, first.To, 0)
	openOther := func(let bool, settings map[string]any) (*parts.Sink, error) {
		c := config(t, settings)
		c.NewSelection = let
		c.Streams[0].Selection = id
		k, err := open(context.Background(), c, onBucket(b))
		if err == nil {
			t.Cleanup(func() { _ = k.Close() })
		}
		return k, err
	}
	plain := map[string]any{"bucket": "lake"}
	if _, err := openOther(false, plain); !errors.Is(err, sinks.ErrOwned) || !strings.Contains(fault.HintOf(err), "--new-selection") {
		t.Fatalf("without being let in: %v (%s)", err, fault.HintOf(err))
	}
	for _, let := range []bool{true, false} {
		k, err := openOther(let, plain)
		if err != nil {
			t.Fatal(err)
		}
		if let {
			carry(t, k, other, 2)
		}
		r, err := k.Lookup(t.Context(), other)
		if err != nil || !strings.HasPrefix(r.Parts[0].Path, "selection="+id.Short()+"/stream=events/") {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := k.Begin(t.Context(), other, 1, sinktest.Schema); !errors.Is(err, sinks.ErrOverlap) {
			t.Errorf("it was begun twice: %v", err)
		}
	}
	if _, err := openOther(false, map[string]any{"bucket": "lake", "layout": "{stream}"}); !errors.Is(err, sinks.ErrOwned) {
		t.Errorf("another layout of it: %v", err)
	}
	k := mustOpen(t, b, nil)
	if r, err := k.Lookup(t.Context(), first); err != nil || !strings.HasPrefix(r.Parts[0].Path, "stream=events/") {
		t.Errorf("the first: %+v, %v", r, err)
	}
	carry(t, k, sinktest.Hours("one", 6, 12), 1)
	if all, err := k.Partitions(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("partitions %v, %v", all, err)
	}
	for path, err := range k.Strays(t.Context()) {
		t.Errorf("stray %s, %v", path, err)
	}
}
