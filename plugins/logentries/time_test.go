package logentries

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestTimesOfMessages reads messages whose own times run against the vendor's, over several pages within one millisecond: whatever
// the column holds, every event comes once and in the vendor's order.
func TestTimesOfMessages(t *testing.T) {
	at := firstDay.Add(8 * time.Hour)
	lines := []string{
		"2026-11-01T07:59:59Z a line", "no time", "<13>Nov  1 07:59:58 host \xff not UTF-8", "", `{"@timestamp":"2026-11-01T08:59:57+01:00"}`,
	}
	records := make([]vendorsim.Record, len(lines))
	for i, line := range lines {
		records[i] = vendorsim.Record{Time: at, Line: []byte(line)}
	}
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Logs = []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "timed", Records: records}}
		o.Logsets = nil
	})
	ago := func(seconds int) int64 { return at.Add(-time.Duration(seconds) * time.Second).UnixMilli() }
	for _, tt := range []struct {
		name    string
		setting any
		want    []int64
		without uint64
	}{
		{"left out", nil, []int64{ago(0), ago(0), ago(0), ago(0), ago(0)}, 0},
		{"none", "none", []int64{ago(0), ago(0), ago(0), ago(0), ago(0)}, 0},
		{"auto", "auto", []int64{ago(1), ago(0), ago(2), ago(0), ago(3)}, 2},
		{"by regex", map[string]any{"regex": `^(\S+Z)`, "layout": "rfc3339"}, []int64{ago(1), ago(0), ago(0), ago(0), ago(0)}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(t, nil, simSettings(base, "logs", []string{vendorsim.SeedWebID}, "time", tt.setting))
			s.perPage = 2
			out, err := read(t, s, sliceOf(streamEvents, vendorsim.SeedWebID, firstDay, firstDay.AddDate(0, 0, 1)))
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, r := range out.rows {
				got = append(got, r.At)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("times (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(lines, out.lines); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if out.counters[logtime.Without] != tt.without {
				t.Errorf("counters %v, want %d without", out.counters, tt.without)
			}
		})
	}
}
