package main

import (
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

// TestFilesKilled ends host and plugin with SIGKILL at any moment of a run into all sinks of files, in an order drawn from a seed. In the end
// each holds the same records as the one whose lines are compared with what was served.
func TestFilesKilled(t *testing.T) {
	t.Parallel()
	rounds := chaosRounds(t)
	r := seededRig(t, vendorsim.Options{}, 4_000*rounds)
	r.source["limit"] = 300
	r.pipeline["retry"] = obj{"attempts": 1000, "max_backoff": "200ms"}
	root := func(name string) string { return filepath.Join(r.dir, name) }
	r.sinks = append(
		r.sinks,
		obj{"name": "raw", "type": "file", "config": obj{"path": root("raw"), "format": "raw"}},
		obj{"name": "parquet", "type": "parquet", "config": obj{"path": root("parquet")}},
		obj{"name": "arrow", "type": "arrow", "config": obj{"path": root("arrow")}},
	)
	r.write()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 7))
	c := r.prepare("run").start()
	for i, victim := range victims(rnd, rounds, "host", "plugin") {
		before := len(commits(t, root("raw")))
		c.awaitOrEnd("a commit", func() bool { return len(commits(t, root("raw"))) > before })
		if c.endsWithin(time.Duration(rnd.IntN(200)) * time.Millisecond) {
			if i < 2 {
				t.Fatalf("the run ended with %d before the %s could be killed: too little work\n%s", c.code, victim, tail(c.stderr.String()))
			}
			break // a fast machine: each part has been killed
		}
		if victim == "plugin" {
			for _, pid := range c.plugins() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended since
			}
			continue
		}
		plugins := c.plugins()
		c.kill()
		for _, pid := range plugins {
			mustEnd(t, pid, 5*time.Second)
		}
		c = r.prepare("run").start()
	}
	c.wait().mustExit(0)
	r.run(0, "run").mustSay("nothing to do")
	r.mustProve()
	r.mustHold(root("raw"), "raw", seedStart, seedEnd)
	want := delivered(t, root("raw"))
	for _, name := range []string{"parquet", "arrow"} {
		if got := delivered(t, root(name)); got != want {
			t.Errorf("%s holds %+v, want %+v", name, got, want)
		}
		if text := amiss(t, root(name)); text != "" {
			t.Errorf("%s:%s", name, text)
		}
		r.mustCover(root(name), seedStart, seedEnd)
	}
	r.mustKeepBudget()
}

// delivered is the sum of what the commits of a root say.
func delivered(t *testing.T, root string) (sum flow.Sum) {
	t.Helper()
	for _, c := range commits(t, root) {
		sum = sum.Plus(c.Delivered)
	}
	return sum
}
