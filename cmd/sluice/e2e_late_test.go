package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// lateRig serves two days, of whose records one in twenty is indexed up to a day late.
func lateRig(t *testing.T) (*rig, *vendorsim.Clock) {
	t.Helper()
	clock := vendorsim.NewClock(0)
	r := sourcesRig(t, func(o *vendorsim.Options) {
		o.Clock, o.Late = clock, vendorsim.Late{Share: 0.05}
		o.Elsa.Order, o.Elsa.Entries, o.Elsa.MaxSkew = vendorsim.MixedOrder, 3, 10*365*24*time.Hour
	})
	return r, clock
}

// lateSinks are sinks whose records are compared: the first by its lines, the others by what was committed, which `verify` holds against
// their files.
func (r *rig) lateSinks() (raw string, all []any, roots []string) {
	raw, lake := filepath.Join(r.dir, "raw"), filepath.Join(r.dir, "lake")
	return raw, []any{
		obj{"name": "raw", "type": "file", "config": obj{"path": raw, "format": "ndjson", "compression": "none"}},
		obj{"name": "lake", "type": "parquet", "config": obj{"path": lake}},
	}, []string{raw, lake}
}

// killedRuns ends runs at steps of rechecks that are drawn from a seed, then lets one end.
func (r *rig) killedRuns(rnd *rand.Rand, rounds int, args ...string) *command {
	r.t.Helper()
	steps := pipeline.RecheckSteps()
	for range rounds {
		at := fmt.Sprintf("%s:%d", steps[rnd.IntN(len(steps))], 1+rnd.IntN(4))
		c := r.prepare(append([]string{killEnv + "=" + at, "run"}, args...)...).start().wait()
		if c.signal == 0 && c.code != 0 {
			r.t.Fatalf("killed at %s: exit %d\n%s", at, c.code, tail(c.stderr.String()))
		}
	}
	return r.run(0, append([]string{"run"}, args...)...)
}

// mustServe requires that a root holds of every log what the simulator serves of the rig's range by now, each line as often, or nothing
// beyond it, and returns how many lines it lacks.
func (r *rig) mustServe(root, format string, whole bool) (lacks int) {
	r.t.Helper()
	for _, id := range r.logs {
		counts, served := lineCounts{}, 0
		for line := range r.sim.Served(id, r.from, r.to) {
			counts.add(line, 1)
			served++
		}
		err := eachLine(filepath.Join(root, "stream=events", "log_id="+id), format, func(line []byte) { counts.add(line, -1) })
		if err != nil {
			r.t.Fatal(err)
		}
		missing, extra := 0, 0
		for _, n := range counts {
			missing, extra = missing+max(n, 0), extra+max(-n, 0)
		}
		if lacks += missing; extra > 0 || whole && missing > 0 {
			r.t.Errorf("log %s: of %d lines served %d are missing, and %d too many%s", id, served, missing, extra, amiss(r.t, root))
		}
	}
	return lacks
}

// statusLate is what `status` says of late records.
func (r *rig) statusLate() (out lateStatus) {
	r.t.Helper()
	for line := range strings.Lines(r.run(0, "status", "--json").stdout.String()) {
		var s pipelineStatus
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			r.t.Fatal(err)
		}
		if s.Late != nil {
			return *s.Late
		}
	}
	r.t.Error("status says nothing of late records")
	return out
}

// TestLateRecords reads a day again an hour and a day after its end, through kills at any step: what is committed is what is served, and
// nothing is there twice.
func TestLateRecords(t *testing.T) {
	t.Parallel()
	r, clock := lateRig(t)
	raw, all, roots := r.lateSinks()
	p, _ := r.pipelineOf("main", "rapid7-download", "raw", obj{"logs": r.logs})
	p["sinks"], p["recheck"], p["flow"] = all, []string{"1h", "24h"}, obj{"slice": "6h"}
	r.to = seedStart.AddDate(0, 0, 1)
	r.only(p)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 11))

	clock.Freeze(r.to.Add(10 * time.Minute))
	r.run(0, "run")
	r.mustServe(raw, "ndjson", true)
	first := delivered(t, raw)
	clock.Freeze(r.to.Add(2 * time.Hour)) // what ended earlier in the day is due a day after its own end
	before := r.mustServe(raw, "ndjson", false)
	r.killedRuns(rnd, 3)
	if after := r.mustServe(raw, "ndjson", false); after >= before || after == 0 {
		t.Errorf("%d of %d late records aren't there after the day's last window was read again", after, before)
	}
	clock.Freeze(r.to.Add(26 * time.Hour))
	r.killedRuns(rnd, 3)
	r.mustServe(raw, "ndjson", true)
	for _, root := range roots {
		if got, want := delivered(t, root), delivered(t, raw); got != want {
			t.Errorf("%s holds %+v, want %+v", root, got, want)
		}
	}
	r.run(0, "verify")
	found := delivered(t, raw).Rows - first.Rows
	if s := r.statusLate(); s.Rows != found || found == 0 || s.Gone != 0 || s.Due != 0 || s.Next != "" {
		t.Errorf("%d records were late, and status says %+v", found, s)
	}
	asked := r.sim.Stats().Budgeted
	r.run(0, "run").mustSay("nothing to do")
	if asked = r.sim.Stats().Budgeted - asked; asked > 0 {
		t.Errorf("a run with nothing due asked %d times", asked)
	}

	// A lost ledger, and all is read again because that was asked for: what the sinks hold is asked of the sinks.
	mustRemove(t, filepath.Join(r.dir, "state"))
	held := delivered(t, raw)
	r.killedRuns(rnd, 2, "--recheck").mustSay("late: 0 records found")
	if got := delivered(t, raw); got != held {
		t.Errorf("after the ledger was lost %+v are there, want %+v", got, held)
	}
	r.mustKeepBudget()
}

// TestLateProjects reads projects of ELSA again where their count moved, and only there.
func TestLateProjects(t *testing.T) {
	t.Parallel()
	r, clock := lateRig(t)
	raw, all, roots := r.lateSinks()
	p, _ := r.pipelineOf("main", "elsa", "ndjson", obj{"projects": []any{
		obj{"key": vendorsim.SeedProject, "id": vendorsim.SeedProjectID},
		obj{"key": vendorsim.SeedOddProject, "id": vendorsim.SeedOddProjectID},
		obj{"key": vendorsim.SeedEmptyProject, "id": vendorsim.SeedEmptyProjectID},
	}})
	p["sinks"], p["recheck"], p["flow"] = all, obj{"after": []string{"1h", "2d", "3d"}}, obj{"slice": "1d"}
	r.only(p)
	var last *command
	for _, after := range []time.Duration{10 * time.Minute, 2 * time.Hour, 50 * time.Hour, 80 * time.Hour} {
		clock.Freeze(r.to.Add(after))
		last = r.run(0, "run", "--summary", "summary.json")
	}
	r.mustHoldProjects(raw, "ndjson")
	if got, want := delivered(t, roots[1]), delivered(t, raw); got != want {
		t.Errorf("%s holds %+v, want %+v", roots[1], got, want)
	}
	last.mustSay("not read again: the vendor's own figures haven't moved")
	r.run(0, "verify")
}

// TestLateFollow keeps a run going while a day passes for the vendor: what was late is there without another run, and the end by SIGTERM
// leaves nothing undone.
func TestLateFollow(t *testing.T) {
	t.Parallel()
	r, clock := lateRig(t)
	raw, all, _ := r.lateSinks()
	p, _ := r.pipelineOf("main", "rapid7-download", "raw", obj{"logs": r.logs, "budget": r.source["budget"]})
	p["sinks"], p["follow"] = all, obj{"every": "1s"}
	p["recheck"] = obj{"after": []string{"1h", "24h"}, "when": "always"} // a day passes within the second that a figure is kept for
	p["range"] = obj{"from": r.from.Format(time.RFC3339)}
	r.only(p)
	clock.Set(r.to.Add(10 * time.Minute)) // it goes on, as a vendor's does: a run waits for the end of what it asks for
	c := r.prepare("run").start()
	c.await("the day", func() bool {
		return strings.Contains(c.stderr.String(), "committed") && len(commits(t, raw)) >= len(r.logs)
	})
	clock.Set(r.to.Add(26 * time.Hour))
	c.await("what was late", func() bool { return r.mustServe(raw, "ndjson", false) == 0 })
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.wait()
	if c.code != 0 && c.code != 3 {
		t.Fatalf("exit %d\n%s", c.code, tail(c.stderr.String()))
	}
	r.run(0, "run", "--once")
	r.mustServe(raw, "ndjson", true)
}
