package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// work is what the crash tests carry: slices of several parts, of none, and one that a second attempt delivers.
type work struct {
	slice  flow.Slice
	bodies []string
}

func allWork() []work {
	var all []work
	for _, s := range []struct {
		key      string
		from, to int
		rows     int
	}{{"one", 0, 6, 24}, {"one", 6, 7, 0}, {"two", 0, 24, 3}, {"one", 12, 24, 13}} {
		slice := Hours(s.key, s.from, s.to)
		all = append(all, work{slice, Bodies(slice, s.rows)})
	}
	return all
}

// Carry does all of the suite's work that isn't committed on a sink that was just opened, aborting one attempt on the way. It
// returns what was committed for sure before an error.
func Carry(ctx context.Context, k sinks.Sink) (sure []flow.Slice, err error) {
	for i, w := range allWork() {
		if _, err := k.(sinks.Memory).Lookup(ctx, w.slice); err == nil {
			sure = append(sure, w.slice)
			continue
		} else if !errors.Is(err, sinks.ErrNotCommitted) {
			return sure, fmt.Errorf("lookup: %w", err)
		}
		if i == 2 {
			tx, err := k.Begin(ctx, w.slice, 0, Schema)
			if err != nil {
				return sure, err
			}
			if err := errors.Join(Append(ctx, tx, w.slice, w.bodies), tx.Abort()); err != nil {
				return sure, err
			}
		}
		if _, err := Write(ctx, k, w.slice, w.bodies); err != nil {
			return sure, err
		}
		sure = append(sure, w.slice)
	}
	return sure, nil
}

// CarriedBodies returns the bodies of all of the suite's work.
func CarriedBodies() []string {
	var all []string
	for _, w := range allWork() {
		all = append(all, w.bodies...)
	}
	return all
}

// runUntil carries the work on a disk whose process dies at a step, 0 for never, and returns what was committed for sure.
func runUntil(d Driver, base *Disk, step int, after bool) (sure []flow.Slice, steps int, err error) {
	f := &Faults{FS: base}
	f.At = f.CrashAt(step, after)
	k, err := d.Open(f, root)
	if err == nil {
		sure, err = Carry(context.Background(), k)
		_ = k.Close() // of a dead process it only ends the goroutines
	}
	return sure, f.Steps(), err
}

// losses are the ways in which a crash is survived: seeds above 1 lose by chance.
func lossOf(seed uint64) Loss { return Loss(min(seed, uint64(LoseSome))) }

const seeds = 3

func (d Driver) stride() int { return strideOf(d.Stride) }

// strideOf leaves out more of the steps where a sample is asked for.
func strideOf(said int) int { return max(said, 1) * testsize.Of(1, 9) }

// checkRestart opens a disk after a crash and checks that Lookup tells the truth: what was committed for sure is, what is
// visible is what is committed, and all work can be completed to one copy of everything.
func checkRestart(d Driver, crashed *Disk, sure []flow.Slice) error {
	ctx := context.Background()
	early, err := d.Visible(crashed, root)
	if err != nil {
		return fmt.Errorf("visible before the restart: %w", err)
	}
	k, err := d.Open(crashed, root)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer k.Close()
	var committed []string
	for _, w := range allWork() {
		_, err := k.(sinks.Memory).Lookup(ctx, w.slice)
		switch {
		case err == nil:
			committed = append(committed, w.bodies...)
		case !errors.Is(err, sinks.ErrNotCommitted):
			return fmt.Errorf("lookup: %w", err)
		case slices.Contains(sure, w.slice):
			return fmt.Errorf("slice %s was committed and is lost", w.slice)
		}
	}
	if err := diffVisible(d, crashed, committed); err != nil {
		return fmt.Errorf("after lookup: %w", err)
	}
	for _, b := range early {
		if !slices.Contains(committed, b) {
			return fmt.Errorf("before the restart %q was visible, which isn't committed", b)
		}
	}
	if _, err := Carry(ctx, k); err != nil {
		return fmt.Errorf("complete: %w", err)
	}
	if err := diffVisible(d, crashed, CarriedBodies()); err != nil {
		return fmt.Errorf("completed: %w", err)
	}
	staging, err := crashed.ReadDir(root + "/_sluice/staging")
	if err != nil || len(staging) > 0 {
		return fmt.Errorf("staging holds %v, %w", staging, err)
	}
	return nil
}

func testCrash(t *testing.T, d Driver) {
	_, steps, err := runUntil(d, disk(t), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	for step := 1; step <= steps; step += d.stride() {
		for seed := range uint64(seeds) {
			// After a step is before the next one, but for what the caller was told; it alternates.
			after := (step+int(seed))%2 == 0
			base := disk(t)
			sure, _, err := runUntil(d, base, step, after)
			// What comes after the commit point may fail unseen: it is left to the next start.
			if err != nil && !errors.Is(err, ErrCrash) {
				t.Fatalf("step %d: %v", step, err)
			}
			if err := checkRestart(d, base.Crash(lossOf(seed), seed+uint64(step)), sure); err != nil {
				t.Fatalf("crash at step %d of %d (after it: %v, loss %d, seed %d): %v", step, steps, after, lossOf(seed), seed, err)
			}
		}
	}
}

// testCrashTwice crashes the restart too, at each of its steps.
func testCrashTwice(t *testing.T, d Driver) {
	_, steps, err := runUntil(d, disk(t), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	for first := 5; first <= steps; first += 13 * d.stride() {
		for second := 1 + first%2; ; second += 2 {
			base := disk(t)
			sure, _, _ := runUntil(d, base, first, true)
			again := base.Crash(lossOf(uint64(second%seeds)), uint64(second))
			f := &Faults{FS: again}
			f.At = f.CrashAt(second, second%2 == 0)
			k, err := d.Open(f, root)
			if err == nil {
				_ = k.Close()
			}
			if f.Steps() < second {
				break // the restart has no such step
			}
			if err := checkRestart(d, again.Crash(lossOf(uint64(first%seeds)), uint64(second)), sure); err != nil {
				t.Fatalf("crash after step %d, then at step %d of the restart: %v", first, second, err)
			}
		}
	}
}

// testFaults lets each step fail once, and for good, with errors of real disks; the pipeline's part is played by settle.
func testFaults(t *testing.T, d Driver) {
	_, steps, err := runUntil(d, disk(t), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	for step := 1; step <= steps; step += d.stride() {
		for i, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
			if errno != syscall.EIO && step%2 == i/2 {
				continue // the two differ in their text alone
			}
			for _, done := range []bool{false, true} { // an EIO may come after the deed
				if done && errno != syscall.EIO {
					continue
				}
				base := disk(t)
				f := &Faults{FS: base}
				f.At = func(s Step, do func() error) error {
					if s.N != step {
						return do()
					}
					if done {
						_ = do()
					}
					return errno
				}
				if err := settle(d, f, base); err != nil {
					t.Fatalf("%v at step %d of %d (after it: %v): %v", errno, step, steps, done, err)
				}
			}
		}
		if err := fullForGood(d, disk(t), step); err != nil {
			t.Fatalf("full from step %d of %d on: %v", step, steps, err)
		}
	}
}

// settle carries the work on one sink, as long as it opens, asking Lookup after each error.
func settle(d Driver, f *Faults, base *Disk) error {
	ctx := context.Background()
	k, err := d.Open(f, root)
	if err != nil {
		if k, err = d.Open(f, root); err != nil {
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
		var committed []string
		for _, w := range allWork() {
			if _, err := k.(sinks.Memory).Lookup(ctx, w.slice); err == nil {
				committed = append(committed, w.bodies...)
			} else if !errors.Is(err, sinks.ErrNotCommitted) {
				return fmt.Errorf("lookup: %w", err)
			}
		}
		if err := diffVisible(d, base, committed); err != nil {
			return err
		}
	}
	return diffVisible(d, base, CarriedBodies())
}

// fullForGood has a disk that takes nothing more from a step on: everything that isn't committed fails, and says why.
func fullForGood(d Driver, base *Disk, step int) error {
	f := &Faults{FS: base}
	f.At = func(s Step, do func() error) error {
		if s.N >= step && slices.Contains([]string{"create", "write", "mkdir", "put"}, s.Op) {
			return syscall.ENOSPC
		}
		return do()
	}
	var sure []flow.Slice
	k, err := d.Open(f, root)
	if err == nil {
		sure, err = Carry(context.Background(), k)
		_ = k.Close()
	}
	if err != nil && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left")) {
		return fmt.Errorf("the error doesn't tell: %w", err)
	}
	return checkRestart(d, base.Crash(LoseNothing, 0), sure)
}

// testUnsynced has a process that dies between linking an entry and syncing the folder, a second one that finds the entry, and
// then a power cut: what the second one said is committed must survive it.
func testUnsynced(t *testing.T, d Driver) {
	base := disk(t)
	f := &Faults{FS: base}
	f.At = func(s Step, do func() error) error {
		err := do()
		if s.Op == "put" && strings.Contains(s.Name, "/commits/") {
			f.Kill()
			return ErrCrash
		}
		return err
	}
	k := open(t, d, f)
	if _, err := Carry(context.Background(), k); !errors.Is(err, ErrCrash) {
		t.Fatal(err)
	}
	found := base.Crash(LoseNothing, 0)
	k = open(t, d, found)
	s := allWork()[0].slice
	if _, err := lookup(k, s); err != nil {
		t.Fatal(err)
	}
	if err := checkRestart(d, found.Crash(LoseAll, 0), []flow.Slice{s}); err != nil {
		t.Fatal(err)
	}
}

// testLateLink has a network file system that says a link failed and does it later. Once Lookup has said that nothing is
// committed, it may not.
func testLateLink(t *testing.T, d Driver) {
	ctx := context.Background()
	base := disk(t)
	f := &Faults{FS: base}
	var late func() error
	f.At = func(s Step, do func() error) error {
		if s.Op == "put" && strings.Contains(s.Name, "/commits/") && late == nil {
			late = do
			return syscall.EIO
		}
		return do()
	}
	k := open(t, d, f)
	s := Hours("one", 0, 6)
	bodies := Bodies(s, 20)
	if _, err := Write(ctx, k, s, bodies); !errors.Is(err, sinks.ErrInDoubt) {
		t.Fatalf("commit: %v, want ErrInDoubt", err)
	}
	if _, err := lookup(k, s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Fatalf("lookup: %v, want ErrNotCommitted", err)
	}
	if err := late(); err == nil {
		t.Error("the link took place after Lookup said that nothing is committed")
	}
	write(t, k, s, bodies)
	wantVisible(t, d, base, bodies)
}
