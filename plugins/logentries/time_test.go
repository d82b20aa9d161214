package logentries

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
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
			for i, r := range out.rows {
				got = append(got, r.At)
				// The vendor's time is kept beside the line's own, and only there.
				var want map[string]string
				if r.At != ago(0) {
					want = map[string]string{logtime.VendorTimestamp: "2026-11-01T08:00:00.000000000Z"}
				}
				if diff := cmp.Diff(want, out.more[i]); diff != "" {
					t.Errorf("attributes of line %d (-want +got):\n%s", i, diff)
				}
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

// TestAttributesAreUnique writes events whose fields have one name: the vendor's own, and what Sluice adds.
func TestAttributesAreUnique(t *testing.T) {
	var times logtime.Settings
	if err := times.UnmarshalJSON([]byte(`"auto"`)); err != nil {
		t.Fatal(err)
	}
	parser, err := times.Parser()
	if err != nil {
		t.Fatal(err)
	}
	page, err := decodePage([]byte(`{"events":[
		{"timestamp":1,"message":"2026-11-01T07:59:59Z a","x":"first","x":"second","x#2":3,"vendor_timestamp":"their own"},
		{"timestamp":2,"message":"b","x":null,"kvp":{"x":1}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	out := newCollector(t)
	w := newEventWriter(project(eventSchema(), varies), memory.NewGoAllocator(), plugins.Limits{}, out)
	defer w.release()
	w.times = parser
	if err := w.page(t.Context(), &batch{events: page.events}); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{
		{"x": "first", "x#2": "second", "x#2#2": "3", "vendor_timestamp": "their own", "vendor_timestamp#2": "1970-01-01T00:00:00.001000000Z"},
		{"kvp": `{"x":1}`},
	}
	if diff := cmp.Diff(want, out.more); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// TestLargeAttributes are a reason for the dead letters, as a large message is: no frame could hold them.
func TestLargeAttributes(t *testing.T) {
	page, err := decodePage([]byte(`{"events":[{"timestamp":1,"message":"kept","x":"` + strings.Repeat("x", 301) + `"},{"timestamp":2,"message":"b"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	out := newCollector(t)
	w := newEventWriter(project(eventSchema(), varies), memory.NewGoAllocator(), plugins.Limits{RecordMax: 100}, out)
	defer w.release()
	if err := w.page(t.Context(), &batch{events: page.events}); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"kept", "b"}, out.lines); diff != "" || len(out.dead) != 1 || len(out.rows) != 1 {
		t.Errorf("%d dead, %d rows, lines (-want +got):\n%s", len(out.dead), len(out.rows), diff)
	}
}
