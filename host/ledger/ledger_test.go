package ledger

import (
	"bufio"
	"database/sql"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var update = flag.Bool("update", false, "write the golden files")

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	_, err := Open(t.Context(), dir, Options{})
	var locked *LockedError
	if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) || locked.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) || fault.HintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if _, err := SetAside(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("set aside: %v", err)
	}
	must(t, l.Close())
	must(t, l.Close())
	open(t, dir)
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c?d#e", "state")
	l := open(t, dir)
	must(t, l.Record(t.Context(), "A", receipt(minutes(0, 1), 1)))
	for name, want := range map[string]os.FileMode{
		".": 0o700, FileName: 0o600, FileName + "-wal": 0o600, FileName + "-shm": 0o600, "lock": 0o600,
	} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, st, err, want)
		}
	}
}

// TestParentsOpenToOthers: what lies beside the state, such as the files of a sink, isn't closed with it.
func TestParentsOpenToOthers(t *testing.T) {
	base := t.TempDir()
	must(t, os.Mkdir(filepath.Join(base, "plain"), 0o777))
	plain, err := os.Stat(filepath.Join(base, "plain"))
	must(t, err)
	open(t, filepath.Join(base, "var", "sluice", "state")+"/")
	for name, want := range map[string]os.FileMode{"var": plain.Mode(), "var/sluice": plain.Mode(), "var/sluice/state": os.ModeDir | 0o700} {
		st, err := os.Stat(filepath.Join(base, name))
		must(t, err)
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, st.Mode(), want)
		}
	}
}

func TestReadOnlyBesideWriter(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(t.Context(), dir); !errors.Is(err, ErrNoLedger) {
		t.Fatalf("without a ledger: %v", err)
	}
	l := open(t, dir)
	must(t, l.Record(t.Context(), "A", receipt(minutes(0, 1), 1)))
	ro, err := OpenReadOnly(t.Context(), dir)
	must(t, err)
	defer func() { must(t, ro.Close()) }()
	for i := 1; i < 4; i++ {
		must(t, l.Record(t.Context(), "A", receipt(minutes(i, i+1), uint64(i+1))))
		got, err := ro.Coverage(t.Context(), "A", testPartition)
		must(t, err)
		if diff := cmp.Diff(flow.Ranges{minutes(0, i+1).Range()}, got); diff != "" {
			t.Fatalf("coverage (-want +got):\n%s", diff)
		}
	}
	if err := ro.Record(t.Context(), "A", receipt(minutes(9, 10), 9)); err == nil {
		t.Error("a read-only ledger recorded")
	}
	must(t, l.Close())
	// After the host has gone, and for a second reader after it.
	late, err := OpenReadOnly(t.Context(), dir)
	must(t, err)
	got, err := late.Coverage(t.Context(), "A", testPartition)
	must(t, err)
	must(t, late.Close())
	if diff := cmp.Diff(flow.Ranges{minutes(0, 4).Range()}, got); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
}

// TestKilledWriter kills a process that records, at several moments, and finds every receipt that it had acknowledged.
func TestKilledWriter(t *testing.T) {
	for _, after := range []int{0, 3, 20} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		acknowledged := -1
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			must(t, err)
			acknowledged = n
			if n == after {
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		if acknowledged < after {
			t.Fatalf("the child acknowledged %d, want %d", acknowledged, after)
		}
		l := open(t, dir)
		got, err := l.Coverage(t.Context(), "A", testPartition)
		must(t, err)
		if !got.Covers(minutes(0, acknowledged+1).Range()) {
			t.Errorf("killed after %d: covered %v, acknowledged %d", after, got, acknowledged)
		}
		cuts, err := l.Cuts(t.Context(), "A", testPartition)
		must(t, err)
		if len(cuts) > 1 {
			t.Errorf("killed after %d: cuts %v", after, cuts)
		}
		must(t, l.Close())
	}
}

func TestConcurrentUse(t *testing.T) {
	l := open(t, t.TempDir())
	var wg sync.WaitGroup
	const writers, each = 8, 10
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				s := minutes(w*each+i, w*each+i+1)
				if err := errors.Join(l.Begin(t.Context(), []string{"A", "B"}, s, 0), l.Record(t.Context(), "A", receipt(s, 0))); err != nil {
					t.Error(err)
				}
				got, err := l.Coverage(t.Context(), "A", testPartition)
				if err != nil || !got.Covers(s.Range()) {
					t.Errorf("%s: covered %v, %v", s, got, err)
				}
			}
		})
	}
	wg.Wait()
	got, err := l.Coverage(t.Context(), "A", testPartition)
	must(t, err)
	if diff := cmp.Diff(flow.Ranges{minutes(0, writers*each).Range()}, got); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
	if cuts, err := l.Cuts(t.Context(), "B", testPartition); err != nil || len(cuts) != writers*each {
		t.Errorf("%d cuts, %v", len(cuts), err)
	}
}

func TestRegisterSink(t *testing.T) {
	type call struct {
		identity, location string
		owner              map[string]string // what is on the disk
		want               error
		text               string
	}
	for _, tt := range []struct {
		name  string
		calls []call
	}{
		{"again", []call{{"X", "/x", nil, nil, ""}, {"X", "/x", nil, nil, ""}}},
		{"another one at a known place", []call{{"X", "/x", nil, nil, ""}, {"Y", "/x", nil, ErrMoved, "mounted"}}},
		{"moved", []call{{"X", "/x", nil, nil, ""}, {"X", "/y", nil, nil, ""}, {"Z", "/x", nil, nil, ""}}},
		{"moved, something else at the old place", []call{{"X", "/x", nil, nil, ""}, {"X", "/y", map[string]string{"/x": "Z"}, nil, ""}}},
		{"copied", []call{{"X", "/x", nil, nil, ""}, {"X", "/y", map[string]string{"/x": "X"}, ErrMoved, "copy"}}},
		{"without a place", []call{{"X", "", nil, nil, ""}, {"Y", "", nil, nil, ""}, {"X", "/x", nil, nil, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, t.TempDir())
			for i, c := range tt.calls {
				err := l.RegisterSink(t.Context(), SinkInfo{Identity: c.identity, Location: c.location, Name: "n"},
					func(at string) (string, bool) { id, ok := c.owner[at]; return id, ok })
				if !errors.Is(err, c.want) {
					t.Fatalf("call %d: %v, want %v", i, err, c.want)
				}
				if err != nil && (!strings.Contains(err.Error(), c.text) || fault.HintOf(err) == "") {
					t.Errorf("call %d: %v (%s)", i, err, fault.HintOf(err))
				}
				at, ok, err := l.SinkAt(t.Context(), c.location)
				must(t, err)
				if c.want == nil && c.location != "" && (!ok || at.Identity != c.identity) {
					t.Errorf("call %d: at %s is %v", i, c.location, at)
				}
			}
		})
	}
}

func TestDamagedFile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, path string)
		want   error
	}{
		{"not a database", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("no ledger ", 500)), 0o600))
		}, ErrCorrupt},
		{"a page overwritten", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			for page := int64(2); page < 12; page++ {
				_, err = f.WriteAt([]byte(strings.Repeat("\xff", 4096)), page*4096)
				must(t, err)
			}
			must(t, f.Close())
		}, ErrCorrupt},
		{"another program's", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			db, err := sql.Open("sqlite", path)
			must(t, err)
			_, err = db.ExecContext(t.Context(), `CREATE TABLE t (x)`)
			must(t, errors.Join(err, db.Close()))
		}, ErrCorrupt},
		{"deleted", func(t *testing.T, path string) { must(t, os.Remove(path)) }, nil},
		{"deleted, its log left", func(t *testing.T, path string) {
			l := open(t, filepath.Dir(path)) // its log isn't in the database yet
			must(t, l.Record(t.Context(), "A", receipt(minutes(1, 2), 2)))
			text, err := os.ReadFile(path + "-wal")
			must(t, err)
			must(t, errors.Join(l.Close(), os.Remove(path), os.WriteFile(path+"-wal", text, 0o600)))
		}, nil},
		{"created in part", func(t *testing.T, path string) { // by a process that was killed
			must(t, errors.Join(os.Remove(path), os.WriteFile(path+".part", nil, 0o600)))
		}, nil},
		{"emptied", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			must(t, l.Record(t.Context(), "A", receipt(minutes(0, 1), 1)))
			must(t, l.Close())
			tt.damage(t, filepath.Join(dir, FileName))
			if tt.name == "emptied" {
				if _, err := OpenReadOnly(t.Context(), dir); !errors.Is(err, ErrCorrupt) {
					t.Errorf("read only: %v", err)
				}
			}
			l, err := Open(t.Context(), dir, Options{})
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				if fault.HintOf(err) == "" {
					t.Errorf("%v has no hint", err)
				}
				aside, err := SetAside(dir)
				if err != nil || filepath.Base(aside) != FileName+".1.aside" {
					t.Fatalf("set aside: %q, %v", aside, err)
				}
				l, err = Open(t.Context(), dir, Options{})
				must(t, err)
			}
			defer func() { must(t, l.Close()) }()
			if all, err := l.Sinks(t.Context()); err != nil || all != nil {
				t.Errorf("a new ledger has sinks %v, %v", all, err)
			}
			if got, err := l.Coverage(t.Context(), "A", testPartition); err != nil || len(got) > 0 {
				t.Errorf("a new ledger has coverage %v, %v", got, err)
			}
		})
	}
}
