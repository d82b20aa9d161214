package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart/postgres"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// blockDay puts a file where the folder of a log's day has to go, so that the sink fails with it; what it returns clears the way.
func blockDay(t *testing.T, root, id string, day time.Time) (unblock func()) {
	t.Helper()
	name := filepath.Join(root, "stream=events", "log_id="+id, "date="+day.Format(time.DateOnly))
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("in the way\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return func() { mustRemove(t, name) }
}

// spoolRig reads one slice into a folder on a disk that is too small for it. start starts a run there, and unblock makes room.
func spoolRig(t *testing.T, max string, attempts int) (r *rig, root string, start func(...string) *command, unblock func()) {
	t.Helper()
	r = newRig(t, vendorsim.Options{Logs: []vendorsim.Log{bulk(12 << 20)}})
	r.to = seedStart.AddDate(0, 0, 1)
	root = r.fileSink("out", "raw", "none")
	r.pipeline["flow"] = obj{"slice": "1d"}
	r.pipeline["retry"] = obj{"attempts": attempts, "max_backoff": "10ms"}
	if max != "" {
		r.pipeline["spool"] = obj{"path": "./kept", "max": max}
	}
	prefix := smallDisk(t, root, "6m")
	r.write()
	start = func(args ...string) *command {
		t.Helper()
		c := r.prepare(args...)
		if prefix != nil {
			sh, err := exec.LookPath(prefix[0])
			if err != nil {
				t.Fatal(err)
			}
			c.cmd.Path, c.cmd.Args = sh, append(slices.Clone(prefix), c.cmd.Args...)
		}
		return c.start()
	}
	return r, root, start, func() {
		if prefix != nil {
			prefix = nil
		} else if err := syscall.Mount("", root, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) spooled() []string {
	r.t.Helper()
	all, err := filepath.Glob(filepath.Join(r.dir, "kept", "*.spool"))
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// TestSpoolSavesDownloads: a sink fails a slice again and again, host and plugin are killed, and the vendor is asked once all the same.
func TestSpoolSavesDownloads(t *testing.T) {
	t.Parallel()
	r, root, start, unblock := spoolRig(t, "100MiB", 1000)
	for range 2 {
		c := start("run")
		c.await("three tries", func() bool { return strings.Count(c.stderr.String(), "try again at") >= 3 })
		c.kill()
		if n := len(r.spooled()); n != 1 {
			t.Errorf("%d slices are spooled", n)
		}
	}
	unblock()
	c := start("run").wait()
	c.mustExit(0)
	c.mustSay("slices from spool: 1")
	if n := len(r.downloads(0)); n != 1 {
		t.Errorf("%d downloads of one slice", n)
	}
	r.mustHold(root, "raw", seedStart, r.to)
	if left := r.spooled(); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
	r.mustKeepSecret(t, c)
}

// TestSpoolWithoutUse: without a spool, with one that is full or one that was damaged the vendor is asked again, and nothing is lost.
func TestSpoolWithoutUse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, max        string
		damage           bool
		downloads, again int
		says, saysAgain  string
	}{
		{"none", "", false, 3, 1, "", ""},
		{"full", "1MiB", false, 3, 1, "the spool is full", ""},
		{"damaged", "100MiB", true, 1, 1, "", "read from the vendor again"},
		{"whole", "100MiB", false, 1, 0, "", "slices from spool: 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, root, start, unblock := spoolRig(t, tt.max, 3)
			c := start("run").wait()
			c.mustExit(1)
			c.mustSay(tt.says)
			if n := len(r.downloads(0)); n != tt.downloads {
				t.Errorf("%d downloads, want %d", n, tt.downloads)
			}
			all := r.spooled()
			if len(all) > 1 || len(all) == 1 != (tt.downloads == 1) {
				t.Fatalf("spooled: %v", all)
			}
			for _, name := range all {
				text, err := os.ReadFile(name)
				if err != nil || bytes.Contains(text, []byte(secretKey)) {
					t.Errorf("%s holds the key, %v", name, err)
				}
				if tt.damage {
					text[len(text)/2] ^= 1
				}
				if err := os.WriteFile(name, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := len(r.sim.Requests())
			unblock()
			c = start("run").wait()
			c.mustExit(0)
			c.mustSay(tt.saysAgain)
			if n := len(r.downloads(before)); n != tt.again {
				t.Errorf("%d downloads, want %d", n, tt.again)
			}
			r.mustHold(root, "raw", seedStart, r.to)
		})
	}
}

// TestSpoolForDetached: of two sinks one is left behind; what it lacks comes from the spool, in the next run.
func TestSpoolForDetached(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 2000)
	r.logs, r.to = r.logs[:1], seedStart.AddDate(0, 0, 3)
	r.pipeline["retry"] = obj{"attempts": 2, "max_backoff": "10ms"}
	r.pipeline["spool"] = obj{"path": "./kept"}
	ahead, left := r.fileSink("ahead", "raw", "none"), r.fileSink("left", "ndjson", "zstd")
	r.sinks[1]["on_failure"] = "detach"
	unblock := blockDay(t, left, r.logs[0], seedStart)
	r.write()
	r.run(1, "run").mustSay("sink left is given up for this run")
	r.mustHold(ahead, "raw", seedStart, r.to)
	downloads := len(r.downloads(0))
	unblock()
	r.run(0, "run").mustSay("slices from spool")
	if n := len(r.downloads(0)); n != downloads {
		t.Errorf("%d downloads more", n-downloads)
	}
	r.mustHold(left, "ndjson", seedStart, r.to)
	if files := r.spooled(); len(files) > 0 {
		t.Errorf("left in the spool: %v", files)
	}
}

// TestSpoolServerKilled ends a real server while a slice comes for it: the download goes on to its end, and isn't made a second time.
func TestSpoolServerKilled(t *testing.T) {
	t.Parallel()
	s := postgres.Start(t)
	release := make(chan struct{})
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{bulk(12 << 20)}})
	r.to = seedStart.AddDate(0, 0, 1)
	if err := r.sim.AddFault(vendorsim.Rule{Nth: []int{1}, Fault: vendorsim.Fault{StallAfter: vendorsim.At(6 << 20), Release: release}}); err != nil {
		t.Fatal(err)
	}
	r.pipeline["flow"] = obj{"slice": "1d"}
	r.pipeline["spool"] = obj{}
	r.env = append(r.env, "E2E_DB="+postgres.Password)
	database := s.Database(t)
	r.sinks = append(r.sinks, obj{"name": "db", "type": "postgres", "config": obj{
		"host": "127.0.0.1", "port": s.Port, "database": database, "user": postgres.User, "password": "${env:E2E_DB}", "timeout": "30s",
	}})
	r.write()
	c := r.prepare("run").start()
	c.await("a download that stands still", func() bool {
		for _, q := range r.sim.Active() {
			if q.Bytes >= 6<<20 {
				return true
			}
		}
		return false
	})
	s.Kill()
	close(release)
	c.await("word of the sink", func() bool { return strings.Contains(c.stderr.String(), "db") })
	kept := filepath.Join(r.dir, "state", "slices", "main", "*.spool")
	c.await("the slice in the spool", func() bool { all, _ := filepath.Glob(kept); return len(all) == 1 })
	s.Restart(t)
	c.wait().mustExit(0)
	r.mustHoldTable(s, database)
	if n := len(r.downloads(0)); n != 1 {
		t.Errorf("%d downloads of one slice", n)
	}
	if all, _ := filepath.Glob(kept); len(all) > 0 {
		t.Errorf("left in the spool: %v", all)
	}
}
