package rapid7download

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestTimesOfLines(t *testing.T) {
	at := firstDay.Add(8 * time.Hour)
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = []vendorsim.Log{{ID: someLog, Name: "timed", Records: []vendorsim.Record{
			{Time: at, Line: []byte("2026-11-01T07:59:59Z a line")},
			{Time: at, Line: []byte("no time")},
			{Time: at, Line: []byte("<13>Nov  1 07:59:58 host \xff not UTF-8")},
			{Time: at, Line: []byte("")},
			{Time: at, Line: []byte(`{"@timestamp":"2026-11-01T08:59:57+01:00"}`)},
		}}}
	})
	ago := func(seconds int) int64 { return at.Add(-time.Duration(seconds) * time.Second).UnixNano() }
	for _, tt := range []struct {
		name    string
		setting any
		want    []int64
		without uint64
	}{
		{"none", "none", nil, 0},
		{"auto", "auto", []int64{ago(1), -1, ago(2), -1, ago(3)}, 2},
		{"by regex", map[string]any{"regex": `^(\S+Z)`, "layout": "rfc3339"}, []int64{ago(1), -1, -1, -1, -1}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(t, nil, simSettings(base, "logs", []string{someLog}, "time", tt.setting))
			out, err := read(t, s, sliceOf(someLog, firstDay, firstDay.AddDate(0, 0, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(out.times, tt.want) || out.counters[logtime.Without] != tt.without || len(out.lines) != 5 {
				t.Errorf("times %v, %v; want %v, %d without", out.times, out.counters, tt.want, tt.without)
			}
			if got := out.opening.Constants.Schema().HasField(flow.ColTimestamp); got != (tt.want == nil) {
				t.Errorf("timestamp is constant: %v", got)
			}
		})
	}
}

// TestTimesFollowTheirLines reads a log whose batches are cut everywhere: each time must be its own line's.
func TestTimesFollowTheirLines(t *testing.T) {
	sim, base := newSim(t, nil)
	s := newSource(t, nil, simSettings(base, "time", "auto"))
	s.limits = plugins.Limits{FrameTarget: 4 << 10, FrameMax: 8 << 10, RecordMax: 20 << 10}
	parser := s.times
	for _, id := range []string{vendorsim.SeedWebID, vendorsim.SeedAppID, vendorsim.SeedAwkwardID} {
		slice := sliceOf(id, firstDay, firstDay.AddDate(0, 0, 1))
		out, err := read(t, s, slice)
		if err != nil {
			t.Fatal(err)
		}
		if want := sim.Count(id, slice.From, slice.To); int64(len(out.lines)) != want || len(out.times) != len(out.bodies) || len(out.batches) < 3 {
			t.Fatalf("log %s: %d lines, want %d; %d times of %d rows in %d batches", id, len(out.lines), want, len(out.times), len(out.bodies), len(out.batches))
		}
		timed := 0
		for i, body := range out.bodies {
			want, ok := parser.Time([]byte(body), slice.Range())
			if !ok {
				want = -1
			} else {
				timed++
			}
			if out.times[i] != want {
				t.Fatalf("log %s: %q has the time %d, want %d", id, strings.ToValidUTF8(body, "?"), out.times[i], want)
			}
		}
		if id == vendorsim.SeedWebID && timed < len(out.times)/2 {
			t.Errorf("of %d access lines only %d have a time", len(out.times), timed)
		}
	}
}
