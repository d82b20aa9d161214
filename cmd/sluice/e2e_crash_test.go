package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestKilledHostAtEveryStep ends the host with SIGKILL at each step of a slice, at some also in the middle of the run, and runs
// again: every line is there once, and the plugin didn't outlive its host.
func TestKilledHostAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, step := range pipeline.Steps() {
		times := []int{1}
		switch step {
		case pipeline.StepAppend, pipeline.StepCommit, pipeline.StepRecord:
			times = append(times, 5)
		case pipeline.StepSplit, pipeline.StepSplitDone: // what the first slices weigh keeps others from being split
			times = append(times, 2)
		}
		for _, nth := range times {
			if !testsize.Full() && nth > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", step, nth), func(t *testing.T) {
				t.Parallel()
				// Days of the two large logs hold more than the limit, so that slices are split.
				r := seededRig(t, vendorsim.Options{}, 3500)
				r.logs = []string{vendorsim.SeedWebID, vendorsim.SeedAppID, vendorsim.SeedAwkwardID}
				r.to = seedStart.Add(2 * 24 * time.Hour)
				r.source["limit"] = 300
				raw := r.fileSink("raw", "raw", "none")
				packed := r.fileSink("packed", "ndjson", "gzip")
				r.write()
				c := r.prepare(killEnv+"="+fmt.Sprintf("%s:%d", step, nth), "run").start()
				pid := c.awaitPlugin()
				c.wait()
				if c.signal != syscall.SIGKILL {
					t.Fatalf("the step was never reached: exit %d\n%s", c.code, tail(c.stderr.String()))
				}
				mustEnd(t, pid)
				r.run(0, "run")
				r.mustHold(raw, "raw", seedStart, r.to)
				r.mustHold(packed, "ndjson", seedStart, r.to)
				r.mustKeepBudget()
			})
		}
	}
}

// answeredDownloads is how many downloads TestTenRestarts lets a run have: enough for some commits, and ten times as many aren't enough
// for all.
const answeredDownloads = 6

// TestTenRestarts ends the host ten times at any moment, then lets it finish.
func TestTenRestarts(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 20_000)
	r.source["limit"] = 1000
	raw := r.fileSink("raw", "raw", "none")
	packed := r.fileSink("packed", "csv", "zstd")
	r.write()
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 1))
	t.Logf("seed %d", seed)
	for n := range 10 {
		// However fast the machine is, no run comes to its end: of each, the vendor answers a few downloads only.
		var asked atomic.Int64
		beyond := func(*http.Request) bool { return asked.Add(1) > answeredDownloads }
		err := r.sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{{When: beyond, Fault: vendorsim.Fault{Hold: make(chan struct{})}}}})
		if err != nil {
			t.Fatal(err)
		}
		c := r.prepare("run").start()
		if n%2 == 0 { // in the middle of the work, the other times at any moment of start and planning too
			before := len(commits(t, raw))
			c.await("a commit", func() bool { return len(commits(t, raw)) > before })
		}
		pause := time.Duration(rnd.IntN(testsize.Of(900, 400))) * time.Millisecond
		select {
		case <-c.ended:
			t.Fatalf("the run ended with %d before it could be killed: too little work", c.code)
		case <-time.After(pause):
		}
		plugins := c.plugins()
		c.kill()
		for _, pid := range plugins {
			mustEnd(t, pid)
		}
	}
	if err := r.sim.SetFaults(vendorsim.Script{}); err != nil {
		t.Fatal(err)
	}
	r.run(0, "run")
	r.mustHold(raw, "raw", seedStart, seedEnd)
	r.mustHold(packed, "csv", seedStart, seedEnd)
	r.mustKeepBudget()
}

// TestKilledPlugin ends the plugin again and again while it works: the host goes on with a fresh one.
func TestKilledPlugin(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 15_000)
	r.source["limit"] = 1000
	root := r.fileSink("out", "raw", "none")
	r.write()
	c := r.prepare("run").start()
	last := 0
	for range 4 {
		before := len(commits(t, root))
		c.await("progress", func() bool { return len(commits(t, root)) > before })
		pid := 0
		c.await("a fresh plugin", func() bool {
			for _, p := range c.plugins() {
				if p != last {
					pid = p
				}
			}
			return pid != 0
		})
		last = pid
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	c.wait().mustExit(0)
	c.mustSay("rapid7-download", "SIGKILL")
	r.mustHold(root, "raw", seedStart, seedEnd)
	r.mustKeepBudget()
}

// TestSecondRun is refused while the first holds the state.
func TestSecondRun(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 500)
	root := r.fileSink("out", "raw", "none")
	r.write()
	hold := make(chan struct{})
	if err := r.sim.AddFault(vendorsim.Rule{Nth: []int{3}, Fault: vendorsim.Fault{Hold: hold}}); err != nil {
		t.Fatal(err)
	}
	first := r.prepare("run").start()
	first.await("a held request", func() bool { return len(r.sim.Active()) > 0 })
	second := r.run(4, "run")
	second.mustSay("another")
	close(hold)
	first.wait().mustExit(0)
	r.mustHold(root, "raw", seedStart, seedEnd)
}
