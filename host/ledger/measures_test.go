package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestMeasuresAreKept(t *testing.T) {
	l := open(t, t.TempDir())
	day := func(n int) flow.Range { return flow.Range{From: day0.AddDate(0, 0, n), To: day0.AddDate(0, 0, n+1)} }
	first, second := day0.AddDate(0, 0, 2), day0.AddDate(0, 0, 3)
	must(t, l.RecordMeasures(t.Context(), testPartition, first, nil))
	if got, err := l.Measures(t.Context(), testPartition, day(0)); err != nil || got != nil {
		t.Errorf("before anything was measured: %v, %v", got, err)
	}
	must(t, l.RecordMeasures(t.Context(), testPartition, first, []flow.Measure{
		{Range: day(0), Rows: -1, Bytes: 100}, {Range: day(1), Rows: 0, Bytes: -1},
	}))
	must(t, l.RecordMeasures(t.Context(), testPartition, second, []flow.Measure{
		{Range: day(0), Rows: -1, Bytes: 120}, {Range: day(2), Rows: -1, Bytes: -1},
	}))
	must(t, l.RecordMeasures(t.Context(), testPartition, second, []flow.Measure{{Range: day(0), Rows: 7, Bytes: 121}})) // again: the last word of a time
	other := testPartition
	other.Key = "another"
	must(t, l.RecordMeasures(t.Context(), other, second, []flow.Measure{{Range: day(0), Rows: 1, Bytes: 1}}))

	got, err := l.Measures(t.Context(), testPartition, flow.Range{From: day(0).From.Add(time.Hour), To: day(2).From.Add(time.Millisecond)})
	must(t, err)
	want := []MeasuredAt{
		{flow.Measure{Range: day(0), Rows: -1, Bytes: 100}, first},
		{flow.Measure{Range: day(0), Rows: 7, Bytes: 121}, second},
		{flow.Measure{Range: day(1), Rows: 0, Bytes: -1}, first},
		{flow.Measure{Range: day(2), Rows: -1, Bytes: -1}, second},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got, err = l.Measures(t.Context(), testPartition, flow.Range{From: day(1).From, To: day(1).To})
	must(t, err)
	if d := cmp.Diff(want[2:3], got); d != "" {
		t.Errorf("ranges that only touch don't meet:\n%s", d)
	}
	err = l.RecordMeasures(t.Context(), testPartition, first, []flow.Measure{{Range: day(1), Rows: -2}})
	if fault.KindOf(err) != fault.Bug {
		t.Errorf("a figure below -1: %v", err)
	}
}
