package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// RemoteStep runs one named step of a sink that changes something at its server, or not, and returns what the sink shall take for the
// step's result. A sink without one just runs do.
type RemoteStep func(name string, do func() error) error

// Remote knows one kind of sink with Memory whose target is a server's: a topic, a schema, a prefix. Each is of one fresh target.
type Remote struct {
	// Open opens the sink on the target as a new process does, for Stream.
	Open func(step RemoteStep) (sinks.Sink, error)
	// Look opens the sink on the target with Config.ReadOnly.
	Look func() (sinks.Sink, error)
	// Visible returns the bodies of the records that a reader sees who reads what is committed, in any order.
	Visible func() ([]string, error)
	// Stride tries every Stride-th step alone; 0 is 1.
	Stride int
}

// ErrLost is the answer of a step that was done and whose answer was lost.
var ErrLost = errors.New("the connection was lost before the answer came")

// RunRemote runs the suite on sinks whose target is a server's. fresh is called for each test and each crash.
func RunRemote(t *testing.T, fresh func(t *testing.T) Remote) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, d Driver)
	}{
		{"every record arrives once", testArrives},
		{"dead after the end", testDead},
		{"account", nil},
		{"two slices interleaved", testInterleaved},
		{"slice without rows", testEmpty},
		{"context", testContext},
		{"nothing visible before commit", testInvisible},
		{"abort leaves nothing", testAbort},
		{"committed and lookup", testMemory},
		{"revisions", testRevisions},
		{"overlap", testOverlap},
		{"audit", testAudit},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			if tt.run == nil { // it needs a target for each of its cases
				testAccount(t, Driver{Fresh: func() Driver { return fresh(t).driver() }})
				return
			}
			tt.run(t, fresh(t).driver())
		})
	}
	t.Run("audit_beside_a_writer", func(t *testing.T) { remoteBeside(t, fresh(t)) })
	t.Run("crash_at_each_step", func(t *testing.T) { remoteCrash(t, fresh) })
	t.Run("lost_answer_of_each_step", func(t *testing.T) { remoteLost(t, fresh) })
	t.Run("zombie", func(t *testing.T) { remoteZombie(t, fresh(t)) })
	t.Run("overlapping_cuts_at_once", func(t *testing.T) { remoteRace(t, fresh(t)) })
}

// driver plays the driver of a sink on a file system that isn't there.
func (r Remote) driver() Driver {
	return Driver{
		Open:    func(commitlog.FS, string) (sinks.Sink, error) { return r.Open(nil) },
		Look:    func(commitlog.FS, string) (sinks.Sink, error) { return r.Look() },
		Visible: func(commitlog.FS, string) ([]string, error) { return r.Visible() },
	}
}

// steps counts a sink's steps and lets At decide about each.
type steps struct {
	mu    sync.Mutex
	n     int
	names []string
	at    func(n int, do func() error) error
}

func (s *steps) step(name string, do func() error) error {
	s.mu.Lock()
	s.n++
	n := s.n
	s.names = append(s.names, name)
	s.mu.Unlock()
	if s.at == nil {
		return do()
	}
	return s.at(n, do)
}

func (s *steps) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *steps) name(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > len(s.names) {
		return "?"
	}
	return s.names[n-1]
}

// countSteps carries all work undisturbed.
func countSteps(t *testing.T, r Remote) int {
	t.Helper()
	var s steps
	k, err := r.Open(s.step)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Carry(context.Background(), k); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if s.count() < 4 {
		t.Fatalf("%d steps: the sink doesn't announce them", s.count())
	}
	return s.count()
}

// remoteCrash ends the process before and after each step, starts anew, and looks.
func remoteCrash(t *testing.T, fresh func(t *testing.T) Remote) {
	total := countSteps(t, fresh(t))
	for step := 1; step <= total; step += strideOf(fresh(t).Stride) {
		for _, after := range []bool{false, true} {
			r := fresh(t)
			var s steps
			dead := false
			s.at = func(n int, do func() error) error {
				s.mu.Lock()
				gone := dead
				dead = dead || n == step
				s.mu.Unlock()
				if gone || n == step && !after {
					return ErrCrash
				}
				err := do()
				if n == step {
					return ErrCrash
				}
				return err
			}
			k, err := r.Open(s.step)
			var sure []flow.Slice
			if err == nil {
				sure, err = Carry(context.Background(), k)
				_ = k.Close() // of a dead process it only ends the connections
			}
			if err != nil && !errors.Is(err, ErrCrash) && !errors.Is(err, sinks.ErrInDoubt) {
				t.Fatalf("step %d, %s: %v", step, s.name(step), err)
			}
			if err := r.checkRestart(sure); err != nil {
				t.Fatalf("crash at step %d of %d, %s (after it: %v): %v", step, total, s.name(step), after, err)
			}
		}
	}
}

// checkRestart is the driver's, for a server: Lookup tells the truth, and all work can be completed to one copy of everything.
func (r Remote) checkRestart(sure []flow.Slice) error {
	ctx := context.Background()
	k, err := r.Open(nil)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer k.Close()
	committed, err := found(ctx, k, sure)
	if err != nil {
		return err
	}
	d := r.driver()
	if err := diffVisible(d, nil, committed); err != nil {
		return fmt.Errorf("after lookup: %w", err)
	}
	if _, err := Carry(ctx, k); err != nil {
		return fmt.Errorf("complete: %w", err)
	}
	if err := diffVisible(d, nil, CarriedBodies()); err != nil {
		return fmt.Errorf("completed: %w", err)
	}
	return nil
}

// found returns the bodies of the work that Lookup says is committed; what was committed for sure must be.
func found(ctx context.Context, k sinks.Sink, sure []flow.Slice) (committed []string, err error) {
	for _, w := range allWork() {
		_, err := k.(sinks.Memory).Lookup(ctx, w.slice)
		switch {
		case err == nil:
			committed = append(committed, w.bodies...)
		case !errors.Is(err, sinks.ErrNotCommitted):
			return nil, fmt.Errorf("lookup: %w", err)
		case slices.Contains(sure, w.slice):
			return nil, fmt.Errorf("slice %s was committed and is lost", w.slice)
		}
	}
	return committed, nil
}

// remoteLost does each step and loses its answer; the process lives on and asks Lookup, as a pipeline does.
func remoteLost(t *testing.T, fresh func(t *testing.T) Remote) {
	total := countSteps(t, fresh(t))
	for step := 1; step <= total; step += strideOf(fresh(t).Stride) {
		r := fresh(t)
		var s steps
		s.at = func(n int, do func() error) error {
			err := do()
			if n == step {
				return errors.Join(ErrLost, err)
			}
			return err
		}
		if err := r.settle(s.step); err != nil {
			t.Fatalf("answer of step %d of %d, %s, lost: %v", step, total, s.name(step), err)
		}
	}
}

func (r Remote) settle(step RemoteStep) error {
	ctx := context.Background()
	k, err := r.Open(step)
	if err != nil {
		if k, err = r.Open(step); err != nil {
			return fmt.Errorf("second open: %w", err)
		}
	}
	defer k.Close()
	for try := 0; ; try++ {
		_, err := Carry(ctx, k)
		if err == nil {
			break
		}
		if try == 2 {
			return fmt.Errorf("third try: %w", err)
		}
		committed, err := found(ctx, k, nil)
		if err != nil {
			return err
		}
		if err := diffVisible(r.driver(), nil, committed); err != nil {
			return err
		}
	}
	return diffVisible(r.driver(), nil, CarriedBodies())
}

// remoteZombie has a process that stopped with a transaction open, another that took over, and the first that goes on.
func remoteZombie(t *testing.T, r Remote) {
	ctx := context.Background()
	old, err := r.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Close() })
	s := Hours("one", 0, 6)
	late := begin(t, old, s)
	k, err := r.Open(nil)
	if errors.Is(err, sinks.ErrOwned) { // a lock that a living process holds is as good
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	if _, err := lookup(k, s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Fatalf("lookup: %v, want ErrNotCommitted", err)
	}
	now := begin(t, k, s)
	now.commit()
	if now.err != nil {
		t.Fatalf("the living process: %v", now.err)
	}
	late.commit()
	if late.err == nil {
		t.Error("the zombie committed what was covered")
	}
	if _, err := old.(sinks.Memory).Lookup(ctx, s); errors.Is(err, sinks.ErrNotCommitted) {
		t.Error("the zombie says that the slice isn't committed")
	}
	wantVisible(t, r.driver(), nil, now.bodies)
}

// remoteRace has two processes commit cuts of one day that overlap, at once: what is visible is what Lookup says, and no time
// is covered twice.
func remoteRace(t *testing.T, r Remote) {
	var all []*attempt
	var open []sinks.Sink
	for range 2 {
		k, err := r.Open(nil)
		if errors.Is(err, sinks.ErrOwned) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		open = append(open, k)
	}
	for i, s := range []flow.Slice{Hours("one", 0, 6), Hours("one", 3, 9)} {
		a := &attempt{slice: s, bodies: Bodies(s, 12)}
		all = append(all, a)
		a.tx, a.err = open[i].Begin(context.Background(), s, 0, Schema)
		if a.err == nil {
			a.err = Append(context.Background(), a.tx, s, a.bodies)
		}
	}
	var ready []*attempt
	for _, a := range all {
		if a.err == nil {
			ready = append(ready, a)
		} else if a.tx != nil { // the other has fenced it
			_ = a.tx.Abort()
		}
	}
	commitAll(ready)
	k, err := r.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	var want []string
	committed := 0
	for _, a := range all {
		_, err := lookup(k, a.slice)
		switch {
		case err == nil:
			committed++
			want = append(want, a.bodies...)
		case !errors.Is(err, sinks.ErrNotCommitted):
			t.Fatal(err)
		case a.err == nil:
			t.Errorf("slice %s was committed and is lost", a.slice)
		}
	}
	if committed > 1 {
		t.Error("both cuts are committed")
	}
	wantVisible(t, r.driver(), nil, want)
}
