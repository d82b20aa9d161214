package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/internal/realpart/postgres"
)

// mustReach starts a run that ends itself with SIGKILL where a recheck comes to a step.
func (r *rig) mustReach(step pipeline.Step, args ...string) {
	r.t.Helper()
	c := r.prepare(append([]string{killEnv + "=" + fmt.Sprint(step, ":1"), "run"}, args...)...).start().wait()
	if c.signal != syscall.SIGKILL {
		r.t.Fatalf("step %s was never reached: exit %d\n%s", step, c.code, tail(c.stderr.String()))
	}
}

// TestRecheckFollowSpool follows two days into two sinks, of which one can't take a log at first and has it from the spool later. A day later
// the slices, which the source had to cut, are read again: through kills in the middle of rechecks, into both.
func TestRecheckFollowSpool(t *testing.T) {
	t.Parallel()
	r, clock := lateRig(t)
	r.logs = r.logs[:2]
	raw, all, _ := r.lateSinks()
	packed := filepath.Join(r.dir, "packed")
	all[1] = obj{"name": "packed", "type": "file", "config": obj{"path": packed, "format": "ndjson"}, "on_failure": "detach"}
	p, _ := r.pipelineOf("main", "rapid7-download", "raw", obj{"logs": r.logs, "limit": 700, "budget": r.source["budget"]})
	p["sinks"], p["follow"], p["spool"] = all, obj{"every": "1s"}, obj{"path": "./kept"}
	p["recheck"] = obj{"after": []string{"1h", "24h"}, "when": "always"}
	p["range"] = obj{"from": r.from.Format(time.RFC3339)}
	p["retry"] = obj{"attempts": 3, "max_backoff": "20ms"}
	r.only(p)
	unblock := blockDay(t, packed, r.logs[0], seedStart)
	clock.Freeze(r.to.Add(10 * time.Minute)) // nothing is served beyond the two days, so it doesn't matter how far a clock that stands is carried on
	c := r.prepare("run").start()
	c.await("the days, and what the other sink lacks in the spool", func() bool {
		return r.mustServe(raw, "ndjson", false) == 0 && len(r.spooled()) > 0
	})
	c.kill()

	clock.Set(r.to.Add(26 * time.Hour)) // all is indexed by then
	clock.Thaw()
	steps := []pipeline.Step{pipeline.StepHeld, pipeline.StepRecheckPlan, pipeline.StepRechecked}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 13))
	r.mustReach(steps[rnd.IntN(len(steps))])
	unblock()
	r.mustReach(steps[rnd.IntN(len(steps))])
	c = r.prepare("run").start()
	c.await("what was late, in both sinks", func() bool {
		return r.mustServe(raw, "ndjson", false) == 0 && r.mustServe(packed, "ndjson", false) == 0
	})
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if c.wait(); c.code != 0 && c.code != 3 {
		t.Fatalf("exit %d\n%s", c.code, tail(c.stderr.String()))
	}
	r.run(0, "run", "--once")
	r.mustServe(raw, "ndjson", true)
	r.mustServe(packed, "ndjson", true)
	r.run(0, "verify")
	if left := r.spooled(); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

// TestRecheckHours puts what was late into the folder of the hours that it belongs to, below a path with a label, with the times of its
// bodies.
func TestRecheckHours(t *testing.T) {
	t.Parallel()
	r, clock := lateRig(t)
	r.logs = r.logs[:1] // whose lines tell their times
	r.to = seedStart.AddDate(0, 0, 1)
	p, _ := r.pipelineOf("main", "rapid7-download", "raw", obj{"logs": r.logs, "time": "auto"})
	p["labels"] = obj{"tenant": "acme"}
	sink := func(kind, settings string) obj {
		config := obj{"path": "./{labels.tenant}-" + kind, "layout": "stream={stream}/log_id={partition}/date={date}/hour={hour}/"}
		if kind == "file" {
			config["format"], config["compression"] = "ndjson", "none"
		}
		return obj{"name": kind, "type": kind, "config": config}
	}
	p["sinks"], p["recheck"], p["flow"] = []any{sink("file", "ndjson"), sink("parquet", "")}, []string{"24h"}, obj{"slice": "6h"}
	r.only(p)
	clock.Freeze(r.to.Add(10 * time.Minute))
	r.run(0, "run")
	clock.Freeze(r.to.Add(26 * time.Hour))
	r.run(0, "run", "--summary", "summary.json")
	if _, late := r.lastSummary(); late.Windows != 4 || late.Found != 4 {
		t.Errorf("%+v", late)
	}
	root := filepath.Join(r.dir, "acme-file")
	for _, id := range r.logs {
		for at := r.from; at.Before(r.to); at = at.Add(6 * time.Hour) {
			counts := lineCounts{}
			for line := range r.sim.Served(id, at, at.Add(6*time.Hour)) {
				counts.add(line, 1)
			}
			folder := filepath.Join(root, "stream=events", "log_id="+id, "date="+at.Format(time.DateOnly), "hour="+at.Format("15"))
			err := eachRecord(folder, "ndjson", func(stamp string, line []byte) {
				counts.add(line, -1)
				if got, err := time.Parse(time.RFC3339Nano, stamp); err != nil || got.Before(at) || !got.Before(at.Add(6*time.Hour)) {
					t.Errorf("%s: timestamp %q of %.100q, %v", folder, stamp, line, err)
				}
			})
			if err != nil || len(counts) > 0 {
				t.Fatalf("%s: %d lines are missing or too many, %v", folder, len(counts), err)
			}
		}
	}
	if got, want := delivered(t, filepath.Join(r.dir, "acme-parquet")), delivered(t, root); got != want {
		t.Errorf("the Parquet sink holds %+v, want %+v", got, want)
	}
	r.run(0, "verify")
	if out := r.run(0, "status").stdout.String(); !strings.Contains(out, "late: ") {
		t.Errorf("status says nothing of late records:\n%s", out)
	}
}

// TestRecheckServerDown: what was late goes to the folder while the database is down, the run says what it lacks, and the next one, asked to
// read all again or not, sends that alone.
func TestRecheckServerDown(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	database := server.Database(t)
	r, clock := lateRig(t)
	r.logs = r.logs[:1]
	r.to = seedStart.AddDate(0, 0, 1)
	raw, all, _ := r.lateSinks()
	r.env = append(r.env, "E2E_DB="+postgres.Password)
	all[1] = obj{"name": "db", "type": "postgres", "on_failure": "detach", "config": obj{
		"host": "127.0.0.1", "port": server.Port, "database": database, "user": postgres.User, "password": "${env:E2E_DB}", "timeout": "30s",
	}}
	table := lateTarget{each: func(f func(string, []byte)) error {
		return server.Do(database, func(ctx context.Context, c *pgx.Conn) error { return eachRow(ctx, c, f) })
	}}
	p, _ := r.pipelineOf("main", "rapid7-download", "raw", obj{"logs": r.logs})
	p["sinks"], p["recheck"], p["flow"] = all, []string{"24h"}, obj{"slice": "8h"}
	p["retry"] = obj{"attempts": 2, "max_backoff": "10ms"}
	r.only(p)
	clock.Freeze(r.to.Add(10 * time.Minute))
	r.run(0, "run")

	clock.Freeze(r.to.Add(26 * time.Hour))
	server.Kill()
	for _, args := range [][]string{{}, {"--recheck"}} {
		c := r.run(1, append([]string{"run", "--summary", "summary.json"}, args...)...)
		sum, _ := r.lastSummary()
		if sinks := sum.Pipelines[0].Sinks; sinks[0].Late != 0 || sinks[1].Late == 0 || sinks[1].Missing != 0 {
			t.Errorf("%v: %+v", args, sinks)
		}
		c.mustSay("sink db: ", "read again for it")
		r.mustServe(raw, "ndjson", true)
	}
	server.Restart(t)
	r.mustNotHold(table)
	before := delivered(t, raw)
	r.run(0, "run")
	r.mustHoldServed("after the database was back", table, 0)
	if got := delivered(t, raw); got != before {
		t.Errorf("the folder holds %+v, want %+v", got, before)
	}
	r.run(0, "verify")
}

// mustNotHold requires that a target lacks something that is served, and has nothing beyond that.
func (r *rig) mustNotHold(k lateTarget) {
	r.t.Helper()
	if _, missing, extra := r.differs(k); missing == 0 || extra > 0 {
		r.t.Fatalf("%d records are missing, and %d too many", missing, extra)
	}
}
