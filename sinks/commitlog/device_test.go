package commitlog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// mounted is a file system on which another one is mounted.
type mounted struct {
	OS
	at string
}

// Lstat implements FS.
func (m mounted) Lstat(name string) (fs.FileInfo, error) {
	info, err := m.OS.Lstat(name)
	if err == nil && name == m.at {
		stat := *info.Sys().(*syscall.Stat_t)
		stat.Dev++
		return elsewhere{info, &stat}, nil
	}
	return info, err
}

type elsewhere struct {
	fs.FileInfo
	stat *syscall.Stat_t
}

// Sys implements fs.FileInfo.
func (e elsewhere) Sys() any { return e.stat }

// A part can't get its final name on another file system in one step: that is found out before the commit point, not after.
func TestAnotherDevice(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(root, "stream=events")
	o := testOwner("events", "a", 1)
	l, err := Open(t.Context(), Options{FS: mounted{at: at}, Root: root, Owner: o})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Mkdir(at, 0o777); err != nil {
		t.Fatal(err)
	}
	s := flow.NewSlice(flow.Partition{Selection: o.Streams["events"].Selection, Stream: "events"}, testDay, testDay.Add(time.Hour), 0)
	tx, err := l.Begin(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	f, err := tx.Create()
	if err == nil {
		_, err = f.Write([]byte("one\n"))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	one := flow.SumOf([]byte("one"))
	parts := []sinks.Part{{Path: "stream=events/x.log", Bytes: 4, SHA256: strings.Repeat("0a", 32), Rows: 1}}
	_, err = tx.Commit(t.Context(), parts, sinks.Account{Read: one, Delivered: one})
	if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "another file system") || errors.Is(err, sinks.ErrInDoubt) {
		t.Errorf("%s: %v", fault.KindOf(err), err)
	}
	if _, err := l.Lookup(t.Context(), s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup: %v", err)
	}
}
