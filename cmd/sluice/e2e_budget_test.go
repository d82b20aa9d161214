package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestBudgetIsNeverExceeded lets two pipelines share one key's small budget, kills the host at any moment, and moves the vendor's
// clock: the simulator counts no request too many, in sliding windows nor in fixed ones.
func TestBudgetIsNeverExceeded(t *testing.T) {
	t.Parallel()
	for _, fixed := range []bool{false, true} {
		t.Run(fmt.Sprintf("fixed=%t", fixed), func(t *testing.T) {
			t.Parallel()
			const requests, window = 12, time.Second
			budget := vendorsim.Budget{Requests: requests, Bytes: 1 << 40, Window: window, Fixed: fixed}
			r := newRig(t, vendorsim.Options{
				Download: budget, Logs: vendorsim.Seeded(vendorsim.SeedOptions{Start: seedStart, Lines: 300}),
			})
			// The second pipeline is the first with a query of its own; both use the key.
			a, b := r.fileSink("a", "raw", "none"), r.dir+"/b"
			r.pipeline["flow"] = obj{"parallel": 4}
			r.second = obj{"name": "second", "sinks": []any{obj{"name": "b", "type": "file", "config": obj{"path": b, "format": "raw"}}}}
			r.write()
			done := func() int { return len(commits(t, a)) + len(commits(t, b)) }
			for n := range 4 {
				c := r.prepare("run").start()
				before := done()
				c.await("some commits", func() bool { return done() >= before+5 })
				r.sim.Clock().Jump([]time.Duration{time.Hour, -90 * time.Minute, 24 * time.Hour, -time.Second}[n])
				c.kill()
			}
			c := r.prepare("run").start()
			c.await("some commits", func() bool { return done() >= 30 })
			r.sim.Clock().Jump(-3 * time.Hour)
			c.wait().mustExit(0)
			r.mustHold(a, "raw", seedStart, seedEnd)
			r.mustHold(b, "raw", seedStart, seedEnd)
			r.mustKeepBudget()
			if !fixed && r.sim.MaxRequests(secretKey, window) > requests {
				t.Errorf("%d requests within a window of %d", r.sim.MaxRequests(secretKey, window), requests)
			}
		})
	}
}

// TestBytesBudget exceeds a budget of bytes by no more than one block.
func TestBytesBudget(t *testing.T) {
	t.Parallel()
	const size, window = 24 << 20, 2 * time.Second
	r := newRig(t, vendorsim.Options{
		Download: vendorsim.Budget{Requests: 1000, Bytes: 12 << 20, Window: window},
		Logs: []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Generated: &vendorsim.Generated{
			From: seedStart, To: seedEnd, Bytes: size,
		}}},
	})
	root := r.fileSink("out", "raw", "none")
	r.write()
	began := time.Now()
	r.run(0, "run")
	r.mustHold(root, "raw", seedStart, seedEnd)
	r.mustKeepBudget()
	if over := r.sim.Stats().BytesBeyond; over > 8<<20 {
		t.Errorf("the budget of bytes was exceeded by %d, more than a block", over)
	}
	if took := time.Since(began); took < window {
		t.Errorf("twice the budget's bytes in %s, with a window of %s", took, window)
	}
}
