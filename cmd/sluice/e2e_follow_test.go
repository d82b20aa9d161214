package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// followRig follows two logs every second, at a vendor whose clock stands at noon of the first day.
func followRig(t *testing.T) (*rig, *vendorsim.Clock, time.Time) {
	t.Helper()
	clock := vendorsim.NewClock(0)
	noon := seedStart.Add(12 * time.Hour)
	clock.Set(noon)
	r := seededRig(t, vendorsim.Options{Clock: clock}, 2000)
	r.logs = []string{vendorsim.SeedWebID, vendorsim.SeedAppID}
	r.to = time.Time{}
	r.pipeline["follow"] = obj{"every": "1s"}
	return r, clock, noon
}

// coveredTo is up to where a log is committed without a gap, from the begin on.
func (r *rig) coveredTo(root, log string) time.Time {
	r.t.Helper()
	at, all := r.from, commits(r.t, root)
	for again := true; again; {
		again = false
		for _, c := range all {
			if c.Slice.Key == log && c.Slice.From.Equal(at) {
				at, again = c.Slice.To, true
			}
		}
	}
	return at
}

// TestFollow reads windows as they close while the vendor's clock is moved, also backwards and under kill -9, tries again what was
// quarantined when it is told to, and ends with 0.
func TestFollow(t *testing.T) {
	t.Parallel()
	r, clock, noon := followRig(t)
	root := r.fileSink("out", "raw", "none")
	r.pipeline["retry"] = obj{"attempts": 2, "max_backoff": "1m"}
	r.write()
	c := r.prepare("run", "--json").start()
	reaches := func(c *command, at time.Time) {
		t.Helper()
		c.await("coverage to "+at.Format(time.RFC3339), func() bool {
			return !r.coveredTo(root, r.logs[0]).Before(at) && !r.coveredTo(root, r.logs[1]).Before(at)
		})
	}
	reaches(c, noon.Add(-5*time.Minute))
	clock.Jump(time.Hour)
	reaches(c, noon.Add(55*time.Minute))

	clock.Jump(-3 * time.Hour)
	c.await("the clock's step", func() bool { return strings.Contains(c.stdout.String(), "went back") })
	clock.Jump(3 * time.Hour)

	c.kill()
	clock.Jump(30 * time.Hour) // an outage
	fault := vendorsim.Rule{Path: "/download/", Fault: vendorsim.Fault{Status: 500}}
	if err := r.sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{fault}}); err != nil {
		t.Fatal(err)
	}
	c = r.prepare("run", "--json", "--summary", filepath.Join(r.dir, "summary.json")).start()
	c.await("quarantine", func() bool { return strings.Count(c.stdout.String(), `"slice_quarantined"`) >= 2 })
	if text := r.run(0, "status").stdout.String(); !strings.Contains(text, "follows every 1s") || !strings.Contains(text, "behind by 1d") {
		t.Errorf("status:\n%s", text)
	}
	if err := r.sim.SetFaults(vendorsim.Script{}); err != nil {
		t.Fatal(err)
	}
	if text := r.run(0, "retry").stdout.String(); !strings.Contains(text, "tried again now") || !strings.Contains(text, "quarantined") {
		t.Errorf("retry: %s", text)
	}
	r.run(4, "retry", "--dead-letters").mustSay("stop the run first")
	reaches(c, noon.Add(30*time.Hour+55*time.Minute))
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.wait().mustExit(0)
	if !strings.Contains(c.stdout.String(), `"event":"window"`) {
		t.Error("no window was told")
	}
	var sum runSummary
	text, err := os.ReadFile(filepath.Join(r.dir, "summary.json"))
	if err == nil {
		err = json.Unmarshal(text, &sum)
	}
	if err != nil || sum.Exit != 0 || sum.Slices == 0 || sum.Pipelines[0].Follow != 1000 || len(sum.Pipelines[0].Faults) != 0 {
		t.Errorf("summary: %+v, %v", sum, err)
	}
	for _, id := range r.logs {
		r.mustHoldLog(root, "raw", id, r.from, r.coveredTo(root, id))
	}
	r.mustKeepBudget()
	r.run(0, "run", "--once").mustSay("main")
}
