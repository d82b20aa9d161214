package wire

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

func TestMeasuresRoundTrip(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	want := []flow.Measure{
		{Range: flow.Range{From: day, To: day.AddDate(0, 0, 1)}, Rows: 0, Bytes: -1},
		{Range: flow.Range{From: day.AddDate(0, 0, 1), To: day.AddDate(0, 0, 2)}, Rows: -1, Bytes: 0},
		{Range: flow.Range{From: day.AddDate(0, 0, 2), To: day.AddDate(0, 0, 2).Add(time.Millisecond)}, Rows: math.MaxInt64, Bytes: 7},
	}
	got, err := MeasuresFromProto(MeasuresToProto(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	p := flow.Partition{Selection: flow.SelectionID{1, 2}, Stream: "events", Key: "log-1"}
	r := flow.Range{From: day, To: day.AddDate(0, 0, 3)}
	gotP, gotR, err := MeasureRequestFromProto(MeasureRequestToProto(p, r))
	if err != nil || gotP != p || gotR != r {
		t.Errorf("got %v %v, %v", gotP, gotR, err)
	}
}

func TestMeasuresThatAreRefused(t *testing.T) {
	beyond := uint64(math.MaxInt64) + 1
	for name, m := range map[string]*v1.Measure{
		"rows":  {FromMs: 0, ToMs: 1, Rows: &beyond},
		"bytes": {FromMs: 0, ToMs: 1, Bytes: &beyond},
		"years": {FromMs: math.MinInt64, ToMs: 1},
	} {
		if _, err := MeasuresFromProto([]*v1.Measure{m}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, m := range map[string]*v1.MeasureRequest{
		"empty":     {Selection: make([]byte, 16), Stream: "events", FromMs: 5, ToMs: 5},
		"no stream": {Selection: make([]byte, 16), FromMs: 5, ToMs: 6},
		"selection": {Selection: []byte("short"), Stream: "events", FromMs: 5, ToMs: 6},
	} {
		if _, _, err := MeasureRequestFromProto(m); err == nil {
			t.Errorf("request %s: accepted", name)
		}
	}
}

func TestCheckMeasures(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	days := func(from, to int) flow.Range {
		return flow.Range{From: day.AddDate(0, 0, from), To: day.AddDate(0, 0, to)}
	}
	asked := flow.Range{From: day.Add(time.Hour), To: day.Add(50 * time.Hour)}
	for _, c := range []struct {
		name string
		ms   []flow.Measure
		want string
	}{
		{"none", nil, ""},
		{"days that meet it", []flow.Measure{{Range: days(0, 1)}, {Range: days(2, 3), Rows: -1}}, ""},
		{"beside it", []flow.Measure{{Range: days(3, 4)}}, "doesn't meet"},
		{"before it", []flow.Measure{{Range: days(-1, 0)}}, "doesn't meet"},
		{"overlap", []flow.Measure{{Range: days(0, 2)}, {Range: days(1, 3)}}, "overlaps"},
		{"order", []flow.Measure{{Range: days(1, 2)}, {Range: days(0, 1)}}, "comes before"},
		{"empty", []flow.Measure{{Range: days(1, 1)}}, "empty"},
		{"figure", []flow.Measure{{Range: days(0, 1), Bytes: -2}}, "want counts"},
	} {
		err := flow.CheckMeasures(asked, c.ms)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
