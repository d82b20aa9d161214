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

// A write to a pipe that nobody reads doesn't return: neither may keep a run, nor its plugin, from ending when it is told to.
func TestASecondSignalEndsARunWhoseOutputIsStuck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		args  []string
		extra obj
	}{
		{"records", []string{"run"}, obj{"name": "out", "type": "stdout"}},
		{"JSON lines", []string{"run", "--json"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := seededRig(t, vendorsim.Options{}, 5000)
			if tt.extra != nil {
				r.sinks = append(r.sinks, tt.extra)
			} else {
				r.fileSink("lake", "raw", "none")
			}
			r.write()
			pipe := filepath.Join(r.dir, "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			stuck, err := os.OpenFile(pipe, os.O_RDWR, 0) // a reader that never reads
			if err != nil {
				t.Fatal(err)
			}
			defer stuck.Close()
			if tt.extra == nil { // so that the first line is stuck already
				fill(t, pipe)
			}
			summary := filepath.Join(r.dir, "summary.json")
			if err := os.WriteFile(summary, []byte(`{"exit":0}`), 0o600); err != nil { // of an earlier run
				t.Fatal(err)
			}
			c := r.prepare(append(tt.args, "--summary", summary)...)
			c.cmd.Stdout = stuck
			c.start()
			plugin := c.awaitPlugin()
			if tt.extra != nil {
				c.await("a slice", func() bool { return strings.Contains(c.stderr.String(), "[2026") })
			}
			time.Sleep(500 * time.Millisecond) // nothing tells that a write is stuck
			for range 2 {
				if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			select {
			case <-c.ended:
			case <-time.After(endsWithin + 10*time.Second):
				t.Fatalf("still running after the second signal\n%s", tail(c.stderr.String()))
			}
			c.mustExit(exitInterrupted)
			if !strings.Contains(c.stderr.String(), "something doesn't end") {
				t.Errorf("it isn't told:\n%s", tail(c.stderr.String()))
			}
			var last struct {
				Exit      int
				Pipelines []struct{ Error string }
			}
			text, err := os.ReadFile(summary)
			if err == nil {
				err = json.Unmarshal(text, &last)
			}
			if err != nil || last.Exit != exitInterrupted || len(last.Pipelines) != 1 || !strings.Contains(last.Pipelines[0].Error, "doesn't end") {
				t.Errorf("the summary: %v\n%s", err, text)
			}
			mustEnd(t, plugin)
		})
	}
}

// fill writes to a pipe until it takes no more.
func fill(t *testing.T, pipe string) {
	t.Helper()
	fd, err := syscall.Open(pipe, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	for page := make([]byte, 4096); err == nil; {
		_, err = syscall.Write(fd, page)
	}
}
