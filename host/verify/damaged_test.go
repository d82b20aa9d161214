package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// entries returns the files of the commit log below a partition's folder.
func (r *rig) entries(partition string) (out []string) {
	r.t.Helper()
	err := filepath.WalkDir(filepath.Join(r.root, "_sluice", "commits"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, string(filepath.Separator)+partition+string(filepath.Separator)) {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		r.t.Fatalf("%v: %v", out, err)
	}
	return out
}

// TestNotRegular: what stands in a file's place and isn't one is named, and not waited for or read without end.
func TestNotRegular(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o777) },
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			part := r.commit(sinktest.Hours("one", 0, 1), 10, true).Parts[0].Path
			r.commit(sinktest.Hours("two", 0, 1), 5, true)
			path := filepath.Join(r.root, part)
			if err := errors.Join(os.Remove(path), put(path)); err != nil {
				t.Fatal(err)
			}
			result, got := r.verify(nil)
			if diff := cmp.Diff([]string{"changed " + part}, got); diff != "" || result.Rows != 5 {
				t.Errorf("%d rows; (-want +got):\n%s", result.Rows, diff)
			}
		})
	}
}

// TestDamagedEntry: one entry that can't be read keeps no other partition from being proved, and is told.
func TestDamagedEntry(t *testing.T) {
	r := newRig(t)
	r.commit(sinktest.Hours("one", 0, 1), 10, true)
	part := r.commit(sinktest.Hours("two", 0, 1), 5, true).Parts[0].Path
	r.commit(sinktest.Hours("two", 24, 25), 7, true)
	if err := errors.Join(os.Truncate(r.entries("one")[0], 100), os.Remove(filepath.Join(r.root, part))); err != nil {
		t.Fatal(err)
	}
	var got []string
	result, err := Sink(t.Context(), Config{Sink: r.open(true), Ledger: r.ledger, Parallel: 2, Found: func(f Finding) error {
		got = append(got, string(f.Kind)+" "+f.Path)
		return nil
	}})
	if diff := cmp.Diff([]string{"missing " + part}, got); diff != "" || result.Rows != 7 || result.Slices != 2 {
		t.Errorf("%+v; (-want +got):\n%s", result, diff)
	}
	if err == nil || !strings.Contains(err.Error(), "000001.json") {
		t.Errorf("it is told as %v", err)
	}
}

// TestTwice: time that the sink's own log has twice is named without a ledger, too.
func TestTwice(t *testing.T) {
	r := newRig(t)
	part := r.commit(sinktest.Hours("one", 0, 1), 10, false).Parts[0].Path
	entry := r.entries("one")[0]
	text, err := os.ReadFile(entry)
	if err == nil {
		err = os.WriteFile(strings.Replace(entry, "000001.json", "000002.json", 1), text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, got := r.verify(func(c *Config) { c.Ledger = nil })
	if diff := cmp.Diff([]string{"doubled " + part}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	slice := func(from, to int, rev uint32) flow.Slice {
		s := sinktest.Hours("one", from, to)
		return flow.NewSlice(s.Partition, s.From, s.To, rev)
	}
	for _, tt := range []struct {
		name string
		all  []flow.Slice
		want int
	}{
		{"apart", []flow.Slice{slice(0, 1, 0), slice(1, 2, 0), slice(2, 5, 0)}, 0},
		{"the same", []flow.Slice{slice(0, 1, 0), slice(1, 2, 0), slice(0, 1, 0)}, 1},
		{"within", []flow.Slice{slice(0, 9, 0), slice(1, 2, 0), slice(3, 4, 0), slice(9, 10, 0)}, 2},
		{"revisions", []flow.Slice{slice(0, 9, 0), slice(1, 2, 1), slice(0, 9, 1), slice(1, 2, 2)}, 0},
		{"a revision twice", []flow.Slice{slice(0, 9, 0), slice(1, 2, 1), slice(1, 2, 1)}, 1},
	} {
		var x twice
		for n, s := range tt.all {
			x.add(sinks.Receipt{Slice: s, Entry: uint64(n + 1), At: time.Now()})
		}
		n := 0
		if err := x.each(func(Finding) error { n++; return nil }); err != nil || n != tt.want {
			t.Errorf("%s: %d findings, want %d; %v", tt.name, n, tt.want, err)
		}
	}
}
