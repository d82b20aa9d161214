package logentries

import (
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
