package logentries

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestNamesThatCanNotBeHad are asked for once in a while, not for each slice: a key may be allowed to query and no more.
func TestNamesThatCanNotBeHad(t *testing.T) {
	sim, base := newSim(t, nil)
	if err := sim.AddFault(vendorsim.Rule{Path: "/management/logs", Times: 1, Fault: vendorsim.Fault{Status: 403}}); err != nil {
		t.Fatal(err)
	}
	budget := &fakeBudget{}
	s := newSource(t, budget, simSettings(base))
	now := firstDay
	s.client.now = func() time.Time { return now }
	ask := func(want string, requests int) {
		t.Helper()
		name, err := s.directory.logName(t.Context(), vendorsim.SeedWebID)
		if name != want || err != nil || budget.requests["management"] != requests {
			t.Errorf("%q, %v, %d requests; want %q, %d", name, err, budget.requests["management"], want, requests)
		}
	}
	ask("", 1)
	now = now.Add(namesAgain - 1)
	ask("", 1)
	now = now.Add(1)
	ask("web", 2)
	now = now.Add(fresh)
	ask("web", 2)

	// What needs the logs themselves asks at once.
	s.directory.setNameless(now.Add(time.Hour))
	now = now.Add(time.Minute)
	if _, _, err := s.directory.list(t.Context(), false); err != nil || budget.requests["management"] != 3 {
		t.Errorf("%v, %d requests", err, budget.requests["management"])
	}
	ask("web", 3)
}

// TestLabelsThatCanNotBeHad don't keep events from being read: they are asked for a few times, without their page, and then keep their ID
// for a while.
func TestLabelsThatCanNotBeHad(t *testing.T) {
	const id = "00000000-0000-0000-0000-000000000006"
	for _, tt := range []struct {
		name   string
		fault  vendorsim.Fault
		nth    []int // requests for the label that meet it; none: all
		asked  int
		labels string
		later  string // ten minutes on, when the label can be had
	}{
		{"once", vendorsim.Fault{Status: 500}, []int{1}, 2, "Info", "Info"},
		{"always", vendorsim.Fault{Status: 500}, nil, labelAttempts, id, "Info"},
		{"a long time", vendorsim.Fault{Status: 503, RetryAfter: "3600"}, nil, 1, id, "Info"},
		{"throttled", vendorsim.Fault{Status: 429, RetryAfter: "0"}, []int{1}, 2, "Info", "Info"},
		{"throttled for long", vendorsim.Fault{Status: 429, RetryAfter: "3600"}, nil, 1, id, "Info"},
		{"unknown to the vendor", vendorsim.Fault{Status: 404}, nil, 1, id, id},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var healed atomic.Bool
			label := func(r *http.Request) bool {
				return !healed.Load() && strings.HasPrefix(r.URL.Path, "/management/labels/")
			}
			sim, base := newSim(t, func(o *vendorsim.Options) {
				o.Logs = []vendorsim.Log{numbered(2, 1)}
				o.Labels = []vendorsim.Label{{ID: id, Name: "Info", Word: "line"}}
				o.Faults.Rules = []vendorsim.Rule{{Path: "/management/labels/", When: label, Nth: tt.nth, Fault: tt.fault}}
			})
			s := newSource(t, nil, simSettings(base))
			now := firstDay
			s.client.now = func() time.Time { return now }
			for range 2 { // the second finds what the first remembers
				out, err := read(t, s, hour)
				if err != nil || len(out.lines) != 2 || !strings.Contains(strings.Join(out.batches, ""), `"labels":["`+tt.labels+`"]`) {
					t.Fatalf("%d lines, %v, want them with the label %s: %s", len(out.lines), err, tt.labels, out.batches)
				}
			}
			asked := 0
			for _, r := range sim.Requests() {
				if strings.HasPrefix(r.Path, "/management/labels/") {
					asked++
				}
			}
			if n := started(sim); n != 2 || asked != tt.asked {
				t.Errorf("%d queries of 2 reads, %d requests for the label, want %d", n, asked, tt.asked)
			}
			healed.Store(true)
			now = now.Add(namesAgain)
			if out, err := read(t, s, hour); err != nil || !strings.Contains(strings.Join(out.batches, ""), `"labels":["`+tt.later+`"]`) {
				t.Errorf("later: %v, want the label %s: %s", err, tt.later, out.batches)
			}
		})
	}
}
