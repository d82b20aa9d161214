package main

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart/s3"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// objectSink adds an object sink and returns where the server keeps its objects as files.
func (r *rig) objectSink(s *s3.Server, prefix, format string) string {
	r.sinks = append(r.sinks, obj{"name": prefix, "type": "object", "config": obj{
		"url": "s3://lake/" + prefix, "endpoint": s.Endpoint, "region": s3.Region, "format": format,
		"credentials": obj{"access_key": s3.AccessKey, "secret_key": "${env:E2E_S3_SECRET}"},
	}})
	r.env = append(r.env, "E2E_S3_SECRET="+s3.SecretKey)
	return filepath.Join(s.Data("lake"), prefix)
}

// TestObjectKilled ends host, plugin and server with SIGKILL at any moment, in an order drawn from a seed, and lets the last run finish.
func TestObjectKilled(t *testing.T) {
	t.Parallel()
	server := s3.Start(t, "lake")
	rounds := chaosRounds(t)
	r := seededRig(t, vendorsim.Options{}, 4_000*rounds)
	r.source["limit"] = 300
	r.pipeline["retry"] = obj{"attempts": 1000, "max_backoff": "200ms"}
	raw := r.objectSink(server, "raw", "raw")
	packed := r.objectSink(server, "packed", "ndjson")
	r.write()
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 5))
	t.Logf("seed %d", seed)
	c := r.prepare("run").start()
	for i, victim := range victims(rnd, rounds, "host", "plugin", "server") {
		before := len(commits(t, raw))
		c.awaitOrEnd("a commit", func() bool { return len(commits(t, raw)) > before })
		if c.endsWithin(time.Duration(rnd.IntN(200)) * time.Millisecond) {
			if i < 3 {
				t.Fatalf("the run ended with %d before the %s could be killed: too little work\n%s", c.code, victim, tail(c.stderr.String()))
			}
			break // a fast machine: each part has been killed
		}
		switch victim {
		case "host":
			plugins := c.plugins()
			c.kill()
			for _, pid := range plugins {
				mustEnd(t, pid, 5*time.Second)
			}
			c = r.prepare("run").start()
		case "plugin":
			if err := syscall.Kill(c.awaitPlugin(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		case "server":
			server.Kill()
			server.Restart(t)
		}
	}
	c.wait().mustExit(0)
	// What the host left that was killed last is deleted for good by the second start after it.
	r.run(0, "run")
	r.run(0, "run")
	r.mustProve()
	r.mustHold(raw, "raw", seedStart, seedEnd)
	r.mustHold(packed, "ndjson", seedStart, seedEnd)
	r.mustKeepBudget()
}

// TestObjectLedgerLost rebuilds the ledger from the bucket, and asks the vendor for nothing again.
func TestObjectLedgerLost(t *testing.T) {
	t.Parallel()
	server := s3.Start(t, "lake")
	r := seededRig(t, vendorsim.Options{}, 500)
	root := r.objectSink(server, "raw", "raw")
	r.write()
	proved := func(want string) {
		t.Helper()
		if out := r.run(0, "check", "--online").stdout.String(); !strings.Contains(out, want) {
			t.Errorf("check --online didn't say %q:\n%s", want, out)
		}
	}
	proved("s3://lake/raw can be listed, read, written and deleted from")
	r.run(0, "run")
	proved("refuses to replace an object")
	mustRemove(t, filepath.Join(r.dir, "state"))
	r.run(0, "ledger", "rebuild")
	r.run(0, "run").mustSay("nothing to do")
	r.mustHold(root, "raw", seedStart, seedEnd)
}
