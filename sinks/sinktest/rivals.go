package sinktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// rivals opens n sinks on one target, none of which respects the lock.
func rivals(t *testing.T, d Driver, base *Disk, n int) []sinks.Sink {
	t.Helper()
	out := make([]sinks.Sink, n)
	for i := range out {
		out[i] = open(t, d, &Faults{FS: base, NoLock: true})
	}
	return out
}

// attempt is a slice that is ready to be committed.
type attempt struct {
	slice  flow.Slice
	bodies []string
	tx     sinks.Txn
	err    error
}

func begin(t *testing.T, k sinks.Sink, s flow.Slice) *attempt {
	t.Helper()
	a := &attempt{slice: s, bodies: Bodies(s, 12)}
	var err error
	if a.tx, err = k.Begin(context.Background(), s, 0, Schema); err == nil {
		err = Append(context.Background(), a.tx, s, a.bodies)
	}
	if err != nil {
		t.Fatalf("slice %s: %v", s, err)
	}
	return a
}

func (a *attempt) commit() {
	_, a.err = a.tx.Commit(context.Background(), Account(a.bodies))
	if a.err != nil {
		_ = a.tx.Abort()
	}
}

func commitAll(all []*attempt) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, a := range all {
		wg.Go(func() {
			<-start
			a.commit()
		})
	}
	close(start)
	wg.Wait()
}

// testRace commits many cuts at once that all meet at noon, through rivals: one wins.
func testRace(t *testing.T, d Driver) {
	for round := range 10 {
		base := disk(t)
		ks := rivals(t, d, base, 3)
		var all []*attempt
		for i := range 11 {
			all = append(all, begin(t, ks[i%3], Hours("one", i, 13+(i+round)%11)))
		}
		commitAll(all)
		var won *attempt
		for _, a := range all {
			switch {
			case a.err == nil && won != nil:
				t.Fatalf("both %s and %s were committed", won.slice, a.slice)
			case a.err == nil:
				won = a
			case !errors.Is(a.err, sinks.ErrOverlap) || errors.Is(a.err, sinks.ErrInDoubt):
				t.Fatalf("%s: %v, want ErrOverlap", a.slice, a.err)
			}
		}
		if won == nil {
			t.Fatal("none was committed")
		}
		wantVisible(t, d, base, won.bodies)
		if _, err := lookup(open(t, d, &Faults{FS: base, NoLock: true}), won.slice); err != nil {
			t.Fatal(err)
		}
	}
}

// testNeighbours commits slices at once that don't meet: all win, and no entry replaces another.
func testNeighbours(t *testing.T, d Driver) {
	base := disk(t)
	ks := rivals(t, d, base, 3)
	var all []*attempt
	for h := range 24 {
		all = append(all, begin(t, ks[h%3], Hours("one", h, h+1)))
	}
	commitAll(all)
	k := open(t, d, &Faults{FS: base, NoLock: true})
	seen := map[uint64]bool{}
	var want [][]string
	for _, a := range all {
		if a.err != nil {
			t.Fatalf("%s: %v", a.slice, a.err)
		}
		r, err := lookup(k, a.slice)
		if err != nil {
			t.Fatal(err)
		}
		if seen[r.Entry] {
			t.Fatalf("two slices have entry %d", r.Entry)
		}
		seen[r.Entry] = true
		want = append(want, a.bodies)
	}
	wantVisible(t, d, base, want...)
}

// testZombie has an owner that lost its lock, and a transaction from before the new owner's sweep.
func testZombie(t *testing.T, d Driver) {
	base := disk(t)
	zombie := open(t, d, &Faults{FS: base, NoLock: true})
	old := begin(t, zombie, Hours("one", 0, 2))
	k := open(t, d, &Faults{FS: base, NoLock: true})
	old.commit()
	if !errors.Is(old.err, sinks.ErrOwned) || errors.Is(old.err, sinks.ErrInDoubt) {
		t.Fatalf("a swept attempt: %v, want a clean ErrOwned", old.err)
	}
	wantVisible(t, d, base)
	s := Hours("one", 1, 3)
	write(t, k, s, Bodies(s, 5))
	// What the zombie begins later is as good as anybody's: the log decides.
	if _, err := Write(context.Background(), zombie, Hours("one", 2, 4), nil); !errors.Is(err, sinks.ErrOverlap) {
		t.Errorf("a covered range: %v, want ErrOverlap", err)
	}
	write(t, zombie, Hours("one", 4, 5), nil)
	wantVisible(t, d, base, Bodies(s, 5))
}

// late is how a zombie commits during a new owner's start.
type late int

const (
	lateWhole late = iota // from the beginning to the end
	lateDies              // from the beginning to its link, then it dies
	lateLink              // it was about to link when the start began, and goes on to the end
	lateLinkDies
	lates
)

// testLateCommit lets a zombie commit before each call that a new owner's start makes.
func testLateCommit(t *testing.T, d Driver) {
	for how := range lates {
		for _, rows := range []int{0, 12} {
			for at := 1; ; at += max(d.Stride, 1) {
				calls, err := lateCommit(t, d, at, rows, how)
				if err != nil {
					t.Fatalf("a commit of %d rows before call %d of the new owner (way %d): %v", rows, at, how, err)
				}
				if calls < at {
					break
				}
			}
		}
	}
}

// zombie is a sink whose transaction commits when it is told to.
type zombie struct {
	goOn, ready, ended chan struct{}
	once               sync.Once
	err                error
}

func (z *zombie) commit() {
	z.once.Do(func() { close(z.goOn) })
	<-z.ended
}

func newZombie(d Driver, base *Disk, s flow.Slice, bodies []string, how late) (*zombie, error) {
	ctx := context.Background()
	z := &zombie{goOn: make(chan struct{}), ready: make(chan struct{}), ended: make(chan struct{})}
	reached := sync.OnceFunc(func() { close(z.ready) })
	f := &Faults{FS: base, NoLock: true}
	f.At = func(st Step, do func() error) error {
		link := st.Op == "put" && strings.Contains(st.Name, "/commits/")
		if link && how >= lateLink {
			reached()
			<-z.goOn
		}
		err := do()
		if link && err == nil && (how == lateDies || how == lateLinkDies) {
			f.Kill()
			return ErrCrash
		}
		return err
	}
	k, err := d.Open(f, root)
	if err != nil {
		return nil, err
	}
	tx, err := k.Begin(ctx, s, 0, Schema)
	if err != nil {
		return nil, err
	}
	if err := Append(ctx, tx, s, bodies); err != nil {
		return nil, err
	}
	go func() { // ends with commit
		defer close(z.ended)
		defer reached() // also if it never tries to link
		if how < lateLink {
			reached()
			<-z.goOn
		}
		_, z.err = tx.Commit(ctx, Account(bodies))
		z.err = errors.Join(z.err, tx.Abort())
		_ = k.Close()
	}()
	<-z.ready
	return z, nil
}

func lateCommit(t *testing.T, d Driver, at, rows int, how late) (calls int, err error) {
	t.Helper()
	ctx := context.Background()
	base := disk(t)
	s := Hours("one", 0, 2)
	bodies := Bodies(s, rows)
	z, err := newZombie(d, base, s, bodies, how)
	if err != nil {
		return 0, err
	}
	defer z.commit()
	committed := false
	tick := func() {
		if calls++; calls == at {
			z.commit()
			committed = true
		}
	}
	owner := &Faults{FS: base, NoLock: true}
	owner.At = func(_ Step, do func() error) error { tick(); return do() }
	owner.Read = func(string, string) error { tick(); return nil }
	k, err := d.Open(owner, root)
	if err != nil {
		return calls, fmt.Errorf("the new owner: %w", err)
	}
	defer k.Close()
	opened := calls
	_, err = k.(sinks.Memory).Lookup(ctx, s)
	there := err == nil
	switch {
	case err != nil && !errors.Is(err, sinks.ErrNotCommitted):
		return opened, err
	case committed && z.err == nil && !there:
		return opened, errors.New("the zombie's commit was lost")
	case committed && !there && errors.Is(z.err, sinks.ErrInDoubt):
		return opened, fmt.Errorf("in doubt, though nothing was committed: %w", z.err)
	}
	if !there {
		if _, err := Write(ctx, k, s, bodies); err != nil {
			return opened, fmt.Errorf("written again: %w", err)
		}
	}
	z.commit()
	return opened, diffVisible(d, base, bodies)
}
