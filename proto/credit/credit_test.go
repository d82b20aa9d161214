package credit

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		passed := make(chan error, 1)
		go func() { passed <- g.Wait(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-passed:
			t.Fatalf("passed without credit: %v", err)
		default:
		}
		if err := g.Grant(1); err != nil {
			t.Fatal(err)
		}
		if err := <-passed; err != nil {
			t.Fatal(err)
		}
		g.Spend(100)
		if got := g.Credit(); got != -99 {
			t.Errorf("credit = %d, want -99: one message may take it below zero", got)
		}
		if err := g.Grant(99); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { passed <- g.Wait(ctx) }()
		synctest.Wait()
		why := errors.New("why")
		cancel(why)
		if err := <-passed; !errors.Is(err, why) {
			t.Errorf("Wait at zero = %v, want the cause", err)
		}
		go func() { passed <- g.Wait(t.Context()) }()
		synctest.Wait()
		g.Close(nil)
		g.Close(why)
		if err := <-passed; !errors.Is(err, ErrClosed) {
			t.Errorf("Wait of a closed gate = %v, want the first reason", err)
		}
	})
}

func TestGrantsThatCantBe(t *testing.T) {
	g := NewGate()
	for _, n := range []int64{0, -1, math.MinInt64} {
		if g.Grant(n) == nil {
			t.Errorf("grant of %d was taken", n)
		}
	}
	if err := g.Grant(math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if g.Grant(1) == nil {
		t.Error("an overflow was taken")
	}
}

func TestWindow(t *testing.T) {
	var grants []int64
	w := NewWindow(100, func(n int64) error { grants = append(grants, n); return nil })
	if w.Receive(1) == nil {
		t.Error("a message before the first grant was taken")
	}
	steps := []struct {
		name string
		do   func() error
		want []int64 // grants so far
	}{
		{"open", w.Open, []int64{100}},
		{"open again", w.Open, []int64{100}},
		{"receive", func() error { return w.Receive(60) }, []int64{100}},
		{"receive beyond", func() error { return w.Receive(70) }, []int64{100}},
		{"a small release, no credit left", func() error { return w.Release(10) }, []int64{100, 10}},
		{"release", func() error { return w.Release(40) }, []int64{100, 10, 40}},
		{"a small release waits", func() error { return w.Release(5) }, []int64{100, 10, 40}},
		{"the rest", func() error { return w.Release(75) }, []int64{100, 10, 40, 80}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if len(grants) != len(s.want) || grants[len(grants)-1] != s.want[len(s.want)-1] {
			t.Fatalf("%s: grants %v, want %v", s.name, grants, s.want)
		}
	}
	if w.Release(1) == nil {
		t.Error("released more than was received")
	}
	if w.Receive(-1) == nil {
		t.Error("a negative length was taken")
	}
	w.Close()
	if err := w.Receive(5); err != nil {
		t.Fatal(err)
	}
	if err := w.Release(5); err != nil || w.Outstanding() != 0 || len(grants) != 4 {
		t.Errorf("after Close: %v, outstanding %d, grants %v", err, w.Outstanding(), grants)
	}
}

// TestWindowThatBegins: a window that begins with a part of its size grows when that would have kept both ends at work, and only then.
func TestWindowThatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var grants []int64
		w := NewWindow(100, func(n int64) error { grants = append(grants, n); return nil })
		w.Begin(10)
		release := func(n int64) func() error { return func() error { return w.Release(n) } }
		receive := func(n int64) func() error { return func() error { return w.Receive(n) } }
		for _, s := range []struct {
			name string
			do   func() error
			want []int64 // grants
		}{
			{"open", w.Open, []int64{10}},
			{"receive all", receive(10), nil},
			{"released while the sender goes on", release(6), []int64{6}},
			{"receive", receive(6), nil},
			{"a receiver that is slower", release(9), []int64{9}},
			{"still", func() error { time.Sleep(time.Hour); return w.Receive(1) }, nil},
			{"the last one, and the sender has credit", release(2), []int64{2}},
			{"receive all again", receive(10), nil},
			{"all at once, with the sender waiting", release(10), []int64{20}},
			{"receive all, twice as much", receive(20), nil},
			{"released in two, while the sender waited long", func() error { time.Sleep(stall); return w.Release(10) }, []int64{10}},
			{"and the rest", release(10), []int64{30}},
			{"a pause with credit left is none", func() error { time.Sleep(time.Hour); return w.Receive(5) }, nil},
			{"it isn't", release(5), []int64{5}},
			{"receive all, four times as much", receive(40), nil},
			{"it grows to its size at most", release(40), []int64{80}},
			{"receive that", receive(80), nil},
			{"again", release(80), []int64{100}},
			{"receive all of its size", receive(100), nil},
			{"it doesn't grow beyond it", release(100), []int64{100}},
		} {
			grants = nil
			if err := s.do(); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if !slices.Equal(grants, s.want) {
				t.Errorf("%s: grants %v, want %v", s.name, grants, s.want)
			}
		}
	})
}

// TestGrantsAreGatheredByWhatIsInUse: a window that begins smaller grants after a quarter of that, or its sender would run dry each time.
func TestGrantsAreGatheredByWhatIsInUse(t *testing.T) {
	var grants []int64
	w := NewWindow(400, func(n int64) error { grants = append(grants, n); return nil })
	w.Begin(40)
	for _, do := range []func() error{w.Open, func() error { return w.Receive(20) }, func() error { return w.Release(9) }} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(grants, []int64{40}) {
		t.Errorf("grants %v after less than a quarter, want none but the first", grants)
	}
	if err := w.Release(1); err != nil || !slices.Equal(grants, []int64{40, 10}) {
		t.Errorf("grants %v (%v) after a quarter, want it granted", grants, err)
	}
}

func TestGrantErrorsStay(t *testing.T) {
	broken := errors.New("broken pipe")
	w := NewWindow(10, func(int64) error { return broken })
	if err := w.Open(); !errors.Is(err, broken) {
		t.Errorf("Open = %v", err)
	}
	if err := w.Open(); !errors.Is(err, broken) {
		t.Errorf("second Open = %v", err)
	}
}

// Both ends together: whatever the sizes, nothing is lost, nobody waits for ever, and what is outstanding never exceeds the
// window plus one message.
func TestPair(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			size := 1 + rng.Int64N(1000)
			sizes := make([]int64, 1+rng.IntN(100))
			var longest, total int64
			for i := range sizes {
				sizes[i] = rng.Int64N(2 * size)
				longest, total = max(longest, sizes[i]), total+sizes[i]
			}
			gate := NewGate()
			w := NewWindow(size, gate.Grant)
			if seed%2 == 1 {
				w.Begin(1 + rng.Int64N(size))
			}
			wire := make(chan int64, len(sizes))
			held := make(chan int64, len(sizes))
			var wg sync.WaitGroup
			wg.Go(func() {
				defer close(wire)
				for _, n := range sizes {
					if err := gate.Wait(t.Context()); err != nil {
						t.Error(err)
						return
					}
					gate.Spend(n)
					wire <- n
				}
			})
			wg.Go(func() {
				defer close(held)
				for n := range wire {
					if err := w.Receive(n); err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
					if out := w.Outstanding(); out > size+longest {
						t.Errorf("seed %d: %d outstanding in a window of %d, longest %d", seed, out, size, longest)
					}
					held <- n
				}
			})
			for range 2 { // sinks release from several goroutines, in any order
				wg.Go(func() {
					for n := range held {
						if err := w.Release(n); err != nil {
							t.Errorf("seed %d: %v", seed, err)
						}
					}
				})
			}
			if err := w.Open(); err != nil {
				t.Fatal(err)
			}
			wg.Wait() // synctest fails on a deadlock
			if w.Outstanding() != 0 {
				t.Errorf("seed %d: %d outstanding at the end", seed, w.Outstanding())
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := gate.Credit() + w.owed; got != w.limit || w.limit > size {
				t.Errorf("seed %d: credit and what is owed sum to %d, want %d of %d: a grant was lost", seed, got, w.limit, size)
			}
		})
	}
}
