package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// bulk is a log of so many bytes in one hour.
func bulk(bytes int64) vendorsim.Log {
	return vendorsim.Log{ID: vendorsim.SeedWebID, Name: "web", Generated: &vendorsim.Generated{
		From: seedStart, To: seedStart.AddDate(0, 0, 1), Bytes: bytes,
	}}
}

// smallDisk makes root a file system of so many bytes. Where that isn't allowed, it returns a command prefix that limits the
// size of files instead.
func smallDisk(t *testing.T, root, size string) (prefix []string) {
	t.Helper()
	if err := os.MkdirAll(root, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size="+size); err != nil {
		t.Logf("no mounts here (%v): a limit of file sizes instead", err)
		return []string{"sh", "-c", `ulimit -f 4096; exec "$@"`, "sh"}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return nil
}

// TestFullDisk fills the sink's file system: no half slice is left, the error says what to do, and with room the rest follows.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{bulk(12 << 20)}})
	r.pipeline["retry"] = obj{"attempts": 2, "max_backoff": "10ms"}
	r.to = seedStart.AddDate(0, 0, 1)
	root := r.fileSink("out", "raw", "none")
	prefix := smallDisk(t, root, "6m")
	r.write()
	c := r.prepare("run")
	if prefix != nil {
		sh, err := exec.LookPath(prefix[0])
		if err != nil {
			t.Fatal(err)
		}
		c.cmd.Path, c.cmd.Args = sh, append(prefix, c.cmd.Args...)
	}
	c.start().wait().mustExit(1)
	if prefix == nil {
		c.mustSay("no space left", "free space")
	}
	if n := len(commits(t, root)); n != 0 {
		t.Errorf("%d commits", n)
	}
	r.mustHoldOnly(root, nil)
	if prefix == nil {
		if err := syscall.Mount("", root, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
	}
	r.run(0, "run")
	r.mustHold(root, "raw", seedStart, r.to)
}

// TestReadOnlyFolder is said at once, before anything is asked of the vendor.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	r := newRig(t, vendorsim.Options{Logs: []vendorsim.Log{bulk(1 << 20)}})
	r.to = seedStart.AddDate(0, 0, 1)
	root := r.fileSink("out", "raw", "none")
	smallDisk(t, root, "6m")
	r.write()
	if os.Geteuid() == 0 {
		if err := syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			realpart.Missing(t, "a file system mounted read-only", "run the tests as an ordinary user, or as a root that may mount")
		}
	} else if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	c := r.prepare("run").start().wait()
	if c.code != 1 && c.code != 2 {
		t.Errorf("exit %d", c.code)
	}
	c.mustSay(root)
	if n := len(r.downloads(0)); n != 0 {
		t.Errorf("%d downloads for a folder that can't be written", n)
	}
}

// TestForeignFile stands where a part has to go: it is left alone and named, and nothing is covered.
func TestForeignFile(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 500)
	r.logs = r.logs[:1]
	r.to = seedStart.AddDate(0, 0, 2)
	r.pipeline["retry"] = obj{"attempts": 2, "max_backoff": "10ms"}
	root := r.fileSink("out", "raw", "none")
	r.write()
	r.run(0, "run") // tells the name of the second day's part
	name := ""
	for _, c := range commits(t, root) {
		if c.Slice.From.After(seedStart) {
			name = c.Parts[0].Path
		}
	}
	mustRemove(t, root, filepath.Join(r.dir, "state"))
	r.run(0, "run", "--to", seedStart.AddDate(0, 0, 1).Format(time.RFC3339))
	foreign := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(foreign), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("mine\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := r.run(1, "run")
	c.mustSay(filepath.Base(name))
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "mine\n" {
		t.Errorf("the foreign file holds %q, %v", text, err)
	}
	if n := len(commits(t, root)); n != 1 {
		t.Errorf("%d commits, want the first day's alone", n)
	}
	mustRemove(t, foreign)
	r.run(0, "run")
	r.mustHold(root, "raw", seedStart, r.to)
}

// TestDataFolder is replaced, moved and robbed between two runs.
func TestDataFolder(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*rig, string) {
		t.Parallel()
		r := seededRig(t, vendorsim.Options{}, 500)
		root := r.fileSink("out", "raw", "none")
		r.to = seedStart.AddDate(0, 0, 3)
		r.write()
		r.run(0, "run")
		r.to = seedEnd
		r.write()
		return r, root
	}
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(t *testing.T, r *rig, root string, words ...string) {
		t.Helper()
		before, entries := len(r.sim.Requests()), len(commits(t, root))
		c := r.prepare("run").start().wait()
		if c.code != 1 && c.code != 2 {
			t.Errorf("exit %d\n%s", c.code, tail(c.stderr.String()))
		}
		c.mustSay(words...)
		if n := len(r.downloads(before)); n != 0 {
			t.Errorf("%d downloads", n)
		}
		if n := len(commits(t, root)); n != entries {
			t.Errorf("%d commits more", n-entries)
		}
	}

	t.Run("another folder in its place", func(t *testing.T) {
		r, root := setup(t)
		rename(t, root, root+".away")
		if err := os.Mkdir(root, 0o777); err != nil {
			t.Fatal(err)
		}
		refused(t, r, root, "mounted")
		mustRemove(t, root)
		refused(t, r, root, "mounted")
		if _, err := os.Stat(root); err == nil {
			t.Error("the run made a sink in the missing one's place")
		}
		rename(t, root+".away", root)
		r.run(0, "run")
		r.mustHold(root, "raw", seedStart, seedEnd)
	})
	t.Run("moved", func(t *testing.T) {
		r, root := setup(t)
		entries := len(commits(t, root))
		moved := filepath.Join(r.dir, "elsewhere")
		rename(t, root, moved)
		r.sinks[0]["config"].(obj)["path"] = moved
		r.write()
		r.run(0, "run")
		r.mustHold(moved, "raw", seedStart, seedEnd)
		if n := len(commits(t, moved)); n <= entries {
			t.Errorf("%d commits after, %d before", n, entries)
		}
	})
	t.Run("copied", func(t *testing.T) {
		r, root := setup(t)
		if err := os.CopyFS(filepath.Join(r.dir, "copy"), os.DirFS(root)); err != nil {
			t.Fatal(err)
		}
		r.sinks[0]["config"].(obj)["path"] = filepath.Join(r.dir, "copy")
		r.write()
		refused(t, r, root, root)
	})
	t.Run("lost entries", func(t *testing.T) {
		r, root := setup(t)
		entries, err := filepath.Glob(filepath.Join(root, "_sluice", "commits", "*", "*", vendorsim.SeedWebID, "*", "*.json"))
		if err != nil || len(entries) == 0 {
			t.Fatalf("entries %v, %v", entries, err)
		}
		slices.Sort(entries)
		lost := entries[len(entries)-1]
		mustRemove(t, lost)
		refused(t, r, root, "ledger rebuild")
		// The sink's word is taken over the ledger's only when someone says so, who is told of the files without an entry.
		c := r.run(0, "ledger", "rebuild")
		strays, err := filepath.Glob(filepath.Join(root, "stream=events", "log_id="+vendorsim.SeedWebID, "date="+filepath.Base(filepath.Dir(lost)), "*"))
		if err != nil || len(strays) != 1 {
			t.Fatalf("strays %v, %v", strays, err)
		}
		if !strings.Contains(c.stdout.String()+c.stderr.String(), filepath.Base(strays[0])) {
			t.Errorf("the data file without an entry wasn't named\n%s%s", c.stdout.String(), c.stderr.String())
		}
		mustRemove(t, strays[0])
		r.run(0, "run")
		r.mustHold(root, "raw", seedStart, seedEnd)
	})
	t.Run("ledger gone back in time", func(t *testing.T) {
		r, root := setup(t)
		state := filepath.Join(r.dir, "state")
		if err := os.CopyFS(state+".old", os.DirFS(state)); err != nil {
			t.Fatal(err)
		}
		r.run(0, "run")
		mustRemove(t, state)
		rename(t, state+".old", state)
		before := len(r.sim.Requests())
		r.run(0, "run")
		if n := len(r.downloads(before)); n != 0 {
			t.Errorf("%d downloads of what the sink holds", n)
		}
		r.mustHold(root, "raw", seedStart, seedEnd)
	})
}
