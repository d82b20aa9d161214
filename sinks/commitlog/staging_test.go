package commitlog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// root has folders above it that nobody has made.
const root = "/srv/data/lake"

func openFolder(t *testing.T, fsys commitlog.FS) *commitlog.Log {
	t.Helper()
	l, err := commitlog.Open(t.Context(), commitlog.Options{FS: fsys, Root: root, Owner: owner()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// begun is an attempt with one part, and what is to be committed of it.
type begun struct {
	tx    *commitlog.Staging
	parts []sinks.Part
	a     sinks.Account
}

func begin(t *testing.T, l *commitlog.Log, s flow.Slice) begun {
	t.Helper()
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
	path := fmt.Sprintf("stream=events/%s.log", s.From.Format("15"))
	return begun{
		tx, []sinks.Part{{Path: path, Bytes: 4, SHA256: strings.Repeat("0a", 32), Rows: 1}}, sinks.Account{Read: one, Delivered: one},
	}
}

func (b begun) commit(ctx context.Context) (sinks.Receipt, error) {
	return b.tx.Commit(ctx, b.parts, b.a)
}

func write(t *testing.T, l *commitlog.Log, s flow.Slice) sinks.Receipt {
	t.Helper()
	r, err := begin(t, l, s).commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantPart(t *testing.T, l *commitlog.Log, r sinks.Receipt, want bool) {
	t.Helper()
	if there, err := l.HasPart(t.Context(), r.Parts[0].Path); err != nil || there != want {
		t.Errorf("%s is there: %v, %v, want %v", r.Parts[0].Path, there, err, want)
	}
}

// TestLinkSentTwice: a network file system that sends a link again because the answer was lost finds its own name taken. That is the commit.
func TestLinkSentTwice(t *testing.T) {
	f := &sinktest.Faults{FS: sinktest.NewDisk(), At: func(s sinktest.Step, do func() error) error {
		err := do()
		if err == nil && s.Op == "put" && strings.Contains(s.Name, "/commits/") {
			return fmt.Errorf("sent again: %w", fs.ErrExist)
		}
		return err
	}}
	l := openFolder(t, f)
	for hour := range 2 {
		if r := write(t, l, sinktest.Hours("one", hour, hour+1)); r.Entry != uint64(hour)+1 {
			t.Errorf("entry %d, want %d", r.Entry, hour+1)
		} else {
			wantPart(t, l, r, true)
		}
	}
}

// TestCommitOfOneThatWasEnded: whoever ends a commit before its entry is linked gets no entry.
func TestCommitOfOneThatWasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	linked := false
	f := &sinktest.Faults{FS: sinktest.NewDisk(), At: func(s sinktest.Step, do func() error) error {
		linked = linked || s.Op == "put" && strings.Contains(s.Name, "/commits/")
		return do()
	}}
	l := openFolder(t, f)
	s := sinktest.Hours("one", 0, 1)
	b := begin(t, l, s)
	f.Read = func(op, name string) error {
		if op == "lstat" && strings.HasSuffix(name, ".log") { // is the part's name free? the last look before the link
			cancel()
		}
		return nil
	}
	if _, err := b.commit(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, sinks.ErrInDoubt) || linked {
		t.Errorf("commit: %v, linked %v", err, linked)
	}
	if _, err := l.Lookup(t.Context(), s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("lookup: %v", err)
	}
}

// TestPowerCut: what was answered lasts, and so do the folders that lead to it.
func TestPowerCut(t *testing.T) {
	d := sinktest.NewDisk()
	cut := func() *commitlog.Log {
		t.Helper()
		d = d.Crash(sinktest.LoseAll, 1)
		return openFolder(t, d)
	}
	// The owner's name lasts before a log is begun that couldn't be read without it.
	f := &sinktest.Faults{FS: d}
	f.At = func(s sinktest.Step, do func() error) error {
		if s.Op == "mkdir" && strings.HasSuffix(s.Name, "/commits") {
			f.Kill()
			return sinktest.ErrCrash
		}
		return do()
	}
	if _, err := commitlog.Open(t.Context(), commitlog.Options{FS: f, Root: root, Owner: owner()}); !errors.Is(err, sinktest.ErrCrash) {
		t.Fatal(err)
	}
	d = d.Crash(sinktest.LoseAll, 1)
	o, err := commitlog.ReadOwner(d, root)
	if err != nil {
		t.Error(err)
	}
	l := openFolder(t, d)
	if l.Identity() != o.ID {
		t.Errorf("the owner %q became %q", o.ID, l.Identity())
	}
	s := sinktest.Hours("one", 0, 1)
	r := write(t, l, s)
	l = cut()
	if got, err := l.Lookup(t.Context(), s); err != nil || got.Entry != r.Entry {
		t.Errorf("lookup: %+v, %v", got, err)
	}
	wantPart(t, l, r, true)
	if _, err := l.Forget(t.Context(), s.Partition, s.Day(), []uint64{r.Entry}); err != nil {
		t.Fatal(err)
	}
	if err := l.RemovePart(t.Context(), r.Parts[0].Path); err != nil {
		t.Fatal(err)
	}
	wantPart(t, cut(), r, false)
}

// TestEntryOfOneThatDied: an entry beyond those that are known, by a process that died when it had linked it, is made durable and its part put
// in place before anyone is told of it.
func TestEntryOfOneThatDied(t *testing.T) {
	d := sinktest.NewDisk()
	l := openFolder(t, d)
	s, next := sinktest.Hours("one", 0, 1), sinktest.Hours("one", 1, 2)
	write(t, l, s)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openFolder(t, &sinktest.Faults{FS: d, NoLock: true})
	f := &sinktest.Faults{FS: d, NoLock: true}
	b := begin(t, openFolder(t, f), next)
	f.At = func(s sinktest.Step, do func() error) error {
		err := do()
		if s.Op == "put" {
			f.Kill()
			return sinktest.ErrCrash
		}
		return err
	}
	if _, err := b.commit(t.Context()); !errors.Is(err, sinks.ErrInDoubt) {
		t.Fatalf("commit: %v", err)
	}
	n := 0
	all := flow.Gap{Partition: s.Partition, From: s.Day(), To: s.Day().Add(24 * time.Hour)}
	for r, err := range l.Committed(t.Context(), all, func(time.Time) uint64 { return 1 }) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		wantPart(t, l, r, true)
		l = openFolder(t, d.Crash(sinktest.LoseAll, 1))
		if got, err := l.Lookup(t.Context(), next); err != nil || got.Entry != r.Entry {
			t.Errorf("after a power cut: %+v, %v", got, err)
		}
	}
	if n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}
