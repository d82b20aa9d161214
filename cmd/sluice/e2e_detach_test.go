package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestDetachedFolder: a sink whose folder has a foreign file in the way is left behind and the other has everything; the run says what
// is missing, and the next one sends that alone.
func TestDetachedFolder(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 500)
	r.logs = r.logs[:1]
	r.to = seedStart.AddDate(0, 0, 3)
	r.pipeline["retry"] = obj{"attempts": 2, "max_backoff": "10ms"}
	ahead := r.fileSink("ahead", "raw", "none")
	left := r.fileSink("left", "raw", "none")
	r.sinks[1]["on_failure"] = "detach"
	r.write()
	r.run(0, "run") // tells the name of the second day's part
	name := ""
	for _, c := range commits(t, left) {
		if c.Slice.From.Equal(seedStart.AddDate(0, 0, 1)) {
			name = c.Parts[0].Path
		}
	}
	mustRemove(t, left, ahead, filepath.Join(r.dir, "state"))
	r.run(0, "run", "--to", seedStart.AddDate(0, 0, 1).Format(time.RFC3339))
	foreign := filepath.Join(left, name)
	if err := os.MkdirAll(filepath.Dir(foreign), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("mine\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	summary := filepath.Join(r.dir, "summary.json")
	c := r.run(1, "run", "--summary", summary)
	c.mustSay("sink left is given up for this run", "lacks", filepath.Base(name))
	r.mustHold(ahead, "raw", seedStart, r.to)
	text, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	var got runSummary
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	sinks := got.Pipelines[0].Sinks
	if len(sinks) != 2 || sinks[0].State != "up" || sinks[0].Missing != 0 || sinks[1].State != "given up" || sinks[1].Missing == 0 ||
		sinks[1].Error == "" || sinks[1].Since == "" {
		t.Errorf("got %+v", sinks)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	downloads := len(r.downloads(0))
	r.run(0, "run")
	if n := len(r.downloads(0)) - downloads; n > 3 {
		t.Errorf("%d downloads to catch up with at most three days", n)
	}
	r.mustHold(left, "raw", seedStart, r.to)
	r.mustHold(ahead, "raw", seedStart, r.to)
}

// TestDetachedPipe: nobody reads standard output; the folder has everything before someone does, and then standard output catches up.
func TestDetachedPipe(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 15_000)
	root := r.fileSink("out", "raw", "none")
	r.sinks = append(r.sinks, obj{
		"name": "pipe", "type": "stdout", "config": obj{"format": "raw"}, "on_failure": "detach", "detach_after": "200ms",
	})
	r.write()
	c := r.prepare("run")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	c.cmd.Stdout = write
	c.start()
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	c.await("all but the pipe's records", func() bool {
		covered := time.Duration(0)
		for _, k := range commits(t, root) {
			covered += k.Slice.Range().Duration()
		}
		return covered == time.Duration(len(r.logs))*seedEnd.Sub(seedStart)
	})
	var out bytes.Buffer
	if _, err := io.Copy(&out, read); err != nil {
		t.Fatal(err)
	}
	c.wait()
	r.mustHold(root, "raw", seedStart, seedEnd)
	if c.code != 0 && c.code != 1 { // 1: the reader came when the last round was over
		t.Errorf("exit %d\n%s", c.code, tail(c.stderr.String()))
	}
	c.mustSay("sink pipe is down")
	if c.code == 0 {
		c.mustSay("sink pipe is back")
	}
}
