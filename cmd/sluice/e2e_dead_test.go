package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestNoRaceRetryDeadLetters sends a line that is too long for a batch again, through a process that is killed at one step after the
// other: at the end the line is there once, and is no dead letter any more.
func TestNoRaceRetryDeadLetters(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("0123456789abcdef"), mib+1)
	records := []vendorsim.Record{
		{Time: seedStart, Line: []byte("first")},
		{Time: seedStart.Add(time.Minute), Line: long},
		{Time: seedStart.Add(2 * time.Minute), Line: []byte("last")},
	}
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{{ID: vendorsim.SeedWebID, Name: "web", Records: records}}})
	r.to = seedStart.AddDate(0, 0, 1)
	root := r.fileSink("out", "raw", "none")
	r.write()
	r.run(1, "run")
	if n := len(r.deadLetters()); n != 1 {
		t.Fatalf("%d dead letters, want 1", n)
	}
	r.mustProve() // the dead letter too
	for _, step := range testsize.Of([]pipeline.Step{
		pipeline.StepRetryPlan, pipeline.StepRetrySend, pipeline.StepAppend, pipeline.StepCommit, pipeline.StepRecord,
		pipeline.StepRetryMove, pipeline.StepRetryLeave, pipeline.StepRetryEnd,
	}, []pipeline.Step{pipeline.StepCommit, pipeline.StepRetryMove}) {
		c := r.prepare(killEnv+"="+fmt.Sprintf("%s:1", step), "retry", "--dead-letters").start().wait()
		if c.signal != syscall.SIGKILL {
			t.Fatalf("step %s was never reached: exit %d\n%s", step, c.code, tail(c.stderr.String()))
		}
	}
	r.run(0, "retry", "--dead-letters")
	if n := len(r.deadLetters()); n != 0 {
		t.Errorf("%d dead letters, want none", n)
	}
	if kept, _ := filepath.Glob(filepath.Join(r.dir, "dead", "main", "_delivered", "out", "*.ndjson")); len(kept) != 1 {
		t.Errorf("delivered: %v", kept)
	}
	var got, want lineSum
	if err := eachLine(filepath.Join(root, "stream=events"), "raw", got.add); err != nil {
		t.Fatal(err)
	}
	for _, x := range records {
		want.add(x.Line)
	}
	if got != want {
		t.Errorf("%d lines came, want %d; sums %x and %x", got.lines, want.lines, got, want)
	}
	r.mustProve()
	r.run(0, "retry", "--dead-letters").mustSay("no dead letters")
	r.run(0, "run").mustSay("nothing to do")
}
