package elsa

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestTimesOfBodies reads bodies whose own times run against logTime: whatever the column holds, rows come in logTime's order, and it
// is logTime that is held against the slice.
func TestTimesOfBodies(t *testing.T) {
	begin := firstDay.Add(8 * time.Hour)
	bodies := []string{
		"2026-11-01T07:59:59Z a line", "no time", "<13>Oct 31 07:59:58 host \xff before the slice", "", `{"@timestamp":"2026-11-01T08:59:57+01:00"}`,
	}
	records := make([]vendorsim.ProjectRecord, len(bodies))
	for i, body := range bodies {
		records[i] = vendorsim.ProjectRecord{
			Time: begin.Add(time.Duration(i) * time.Second), Fields: []vendorsim.Field{vendorsim.TextField("body", []byte(body))},
		}
	}
	sim, base := newSim(t, func(o *vendorsim.Options) {
		o.Elsa.Projects = []vendorsim.Project{{Key: vendorsim.SeedProject, ID: vendorsim.SeedProjectID, Records: records}}
		o.Elsa.Order = vendorsim.NewestFirst
	})
	vendors := []any{"2026-11-01T08:00:00Z", "2026-11-01T08:00:01Z", "2026-11-01T08:00:02Z", "2026-11-01T08:00:03Z", "2026-11-01T08:00:04Z"}
	for _, tt := range []struct {
		name    string
		setting any
		want    []any
		without uint64
	}{
		{"none", "none", vendors, 0},
		{"auto", "auto", []any{"2026-11-01T07:59:59Z", vendors[1], "2026-10-31T07:59:58Z", vendors[3], "2026-11-01T07:59:57Z"}, 2},
		{"by regex", map[string]any{"regex": `^(\S+Z)`, "layout": "rfc3339"}, []any{"2026-11-01T07:59:59Z", vendors[1], vendors[2], vendors[3], vendors[4]}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := at(newSource(t, simSettings(base, "time", tt.setting)), sim)
			out, err := read(t, s, sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1)))
			if err != nil {
				t.Fatal(err)
			}
			var got []any
			for i, r := range out.rows {
				got = append(got, r["timestamp"])
				// The vendor's time is kept beside the body's own, and only there.
				var want any
				if r["timestamp"] != vendors[i] {
					want = map[string]any{logtime.VendorTimestamp: fmt.Sprintf("2026-11-01T08:00:0%d.000000000Z", i)}
				}
				if diff := cmp.Diff(want, r["attributes"]); diff != "" {
					t.Errorf("attributes of body %d (-want +got):\n%s", i, diff)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("times (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(bodies, out.bodies); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
			if out.counters[logtime.Without] != tt.without || out.counters[countOutside] != 0 {
				t.Errorf("counters %v, want %d without", out.counters, tt.without)
			}
		})
	}
}

// TestRowWithoutAnyTime holds that a row keeps the null of a record without logTime when its body tells none either.
func TestRowWithoutAnyTime(t *testing.T) {
	parser := func(text string) *logtime.Parser {
		var s logtime.Settings
		if err := s.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		p, err := s.Parser()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	b := &batcher{times: parser(`"auto"`)}
	if got := b.timeOf(&row{body: []byte("none")}); got.known || b.without != 1 {
		t.Errorf("a time from nowhere; %d without", b.without)
	}
	r := &row{body: []byte("2026-11-01T00:00:00Z")}
	if got := b.timeOf(r); got != (moment{firstDay.UnixNano(), true}) || b.without != 1 || len(r.attributes) != 0 {
		t.Errorf("the body's time is %v; %d without; attributes %q", got, b.without, r.attributes)
	}
	// A field of that name stays what it is.
	r.timed, r.time = true, 1_500_000_000
	r.attribute([]byte(logtime.VendorTimestamp), value{formText, []byte("their own")}, false)
	b.timeOf(r)
	if len(r.attributes) != 2 || string(r.attributes[0].value) != "their own" || string(r.attributes[1].name) != "vendor_timestamp#2" ||
		string(r.attributes[1].value) != "1970-01-01T00:00:01.500000000Z" {
		t.Errorf("attributes %q", r.attributes)
	}
}
