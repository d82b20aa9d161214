package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func mustOpen(t *testing.T, b *sinktest.Bucket, step sinktest.RemoteStep) *parts.Sink {
	t.Helper()
	k, err := inMemory(t, b, step)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// attempt begins a slice and appends n records.
func attempt(t *testing.T, k sinks.Sink, s flow.Slice, n int) (sinks.Txn, []string) {
	t.Helper()
	tx, err := k.Begin(context.Background(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	bodies := sinktest.Bodies(s, n)
	if err := sinktest.Append(context.Background(), tx, s, bodies); err != nil {
		t.Fatal(err)
	}
	return tx, bodies
}

func commit(tx sinks.Txn, bodies []string) error {
	_, err := tx.Commit(context.Background(), sinktest.Account(bodies))
	return err
}

func wantVisible(t *testing.T, b *sinktest.Bucket, want []string) {
	t.Helper()
	got, err := visible(b)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("visible (-want +got):\n%s", diff)
	}
}

// wantClean says that the bucket holds what commits name and nothing else but owner and log.
func wantClean(t *testing.T, b *sinktest.Bucket) {
	t.Helper()
	all, err := committed(b)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, p := range all {
		want = append(want, p.Path)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, data(b)); diff != "" {
		t.Errorf("objects of data (-named +there):\n%s", diff)
	}
	for _, key := range b.Keys() {
		if strings.HasPrefix(key, "_sluice/staging/") {
			t.Errorf("%s is left", key)
		}
	}
	if left := b.Uploads(); len(left) > 0 {
		t.Errorf("uploads %q are left", left)
	}
}

// restarts opens and closes the sink twice: the second start takes away what the first one left for requests on their way.
func restarts(t *testing.T, b *sinktest.Bucket) {
	t.Helper()
	for range 2 {
		k, err := inMemory(t, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// holder holds back one request, as a network does that delivers it much later, and loses its answer.
type holder struct {
	mu   sync.Mutex
	what string // the name contains it
	late func() error
}

func (h *holder) step(name string, do func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.late == nil && h.what != "" && strings.Contains(name, h.what) {
		h.late = do
		return sinktest.ErrLost
	}
	return do()
}

func (h *holder) hold(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.what = what
}

// The parts of a process that stands still are swept by another; when it goes on, its commit must not name them.
func TestSweptAttemptCantCommit(t *testing.T) {
	for _, when := range []string{"put _sluice/commits/", "complete stream=", "put stream=", "piece 2 of"} {
		t.Run(strings.ReplaceAll(when, "/", "_"), func(t *testing.T) {
			b := sinktest.NewBucket()
			var once sync.Once
			old := mustOpen(t, b, func(name string, do func() error) error {
				if strings.HasPrefix(name, when) {
					once.Do(func() { mustOpen(t, b, nil) })
				}
				return do()
			})
			s := sinktest.Hours("one", 0, 6)
			n := 40
			if when == "put stream=" {
				n = 2 // one piece
			}
			bodies := sinktest.Bodies(s, n)
			tx, err := old.Begin(context.Background(), s, 0, sinktest.Schema)
			if err != nil {
				t.Fatal(err)
			}
			if err = sinktest.Append(context.Background(), tx, s, bodies); err == nil {
				err = commit(tx, bodies)
			}
			if err == nil || errors.Is(err, sinks.ErrInDoubt) || fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), "was swept") {
				t.Fatalf("commit: %v, want that the attempt was swept", err)
			}
			_ = tx.Abort()
			if _, err := old.Lookup(context.Background(), s); !errors.Is(err, sinks.ErrNotCommitted) {
				t.Errorf("lookup: %v", err)
			}
			tx, bodies = attempt(t, old, s, n)
			if err := commit(tx, bodies); err != nil {
				t.Fatalf("another attempt: %v", err)
			}
			restarts(t, b)
			wantVisible(t, b, bodies)
			wantClean(t, b)
		})
	}
}

// An entry whose put is answered by nothing is in doubt; once Lookup has said no, it can't come any more.
func TestLateEntry(t *testing.T) {
	for _, who := range []string{"same process", "next process", "next process without a part"} {
		t.Run(strings.ReplaceAll(who, " ", "_"), func(t *testing.T) {
			b := sinktest.NewBucket()
			h := &holder{}
			k := mustOpen(t, b, h.step)
			s := sinktest.Hours("one", 0, 6)
			n := 40
			if strings.Contains(who, "without") {
				n = 0
			}
			tx, bodies := attempt(t, k, s, n)
			h.hold("/000001.json")
			if err := commit(tx, bodies); !errors.Is(err, sinks.ErrInDoubt) {
				t.Fatalf("commit: %v, want ErrInDoubt", err)
			}
			if who != "same process" {
				k = mustOpen(t, b, nil)
			}
			if _, err := k.Lookup(context.Background(), s); !errors.Is(err, sinks.ErrNotCommitted) {
				t.Fatalf("lookup: %v, want ErrNotCommitted", err)
			}
			err := h.late()
			if n == 0 { // nothing says that there was an attempt, and nothing was put that a commit could miss
				if err != nil {
					t.Fatal(err)
				}
				tx, bodies = attempt(t, k, s, 3)
				if err := commit(tx, bodies); !errors.Is(err, sinks.ErrOverlap) {
					t.Errorf("commit after the late one: %v, want ErrOverlap", err)
				}
				wantVisible(t, b, nil)
				return
			}
			if !errors.Is(err, fs.ErrExist) {
				t.Fatalf("the late put: %v, want that its number is taken", err)
			}
			tx, bodies = attempt(t, k, s, 40)
			if err := commit(tx, bodies); err != nil {
				t.Fatal(err)
			}
			restarts(t, b)
			wantVisible(t, b, bodies)
			wantClean(t, b)
		})
	}
}

// A put that took place and whose answer was lost is found, whoever looks.
func TestLostAnswerOfEntry(t *testing.T) {
	b := sinktest.NewBucket()
	k := mustOpen(t, b, func(name string, do func() error) error {
		err := do()
		if strings.HasSuffix(name, "/000001.json") {
			return sinktest.ErrLost
		}
		return err
	})
	s := sinktest.Hours("one", 0, 6)
	tx, bodies := attempt(t, k, s, 40)
	if err := commit(tx, bodies); !errors.Is(err, sinks.ErrInDoubt) {
		t.Fatalf("commit: %v, want ErrInDoubt", err)
	}
	if r, err := k.Lookup(context.Background(), s); err != nil || r.Entry != 1 {
		t.Fatalf("lookup: %+v, %v", r, err)
	}
	wantVisible(t, b, bodies)
	wantClean(t, b)
}

// TestLostEntry: an entry that wasn't written and wasn't answered leaves nothing of its attempt once that is known.
func TestLostEntry(t *testing.T) {
	b := sinktest.NewBucket()
	lost := true
	k := mustOpen(t, b, func(name string, do func() error) error {
		if strings.HasSuffix(name, "/000001.json") && lost {
			lost = false
			return sinktest.ErrLost
		}
		return do()
	})
	s := sinktest.Hours("one", 0, 6)
	tx, bodies := attempt(t, k, s, 40)
	if err := commit(tx, bodies); !errors.Is(err, sinks.ErrInDoubt) {
		t.Fatalf("commit: %v, want ErrInDoubt", err)
	}
	if r, err := k.Lookup(context.Background(), s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Fatalf("lookup: %+v, %v", r, err)
	}
	if left := data(b); len(left) > 0 {
		t.Errorf("objects of an attempt that isn't committed: %q", left)
	}
	wantVisible(t, b, carry(t, k, s, 40))
	wantClean(t, b)
}

// A part's put or an upload's completion that takes place after its attempt was given up, and after the next start.
func TestLatePart(t *testing.T) {
	for _, what := range []string{"put stream=", "complete stream="} {
		t.Run(what[:3], func(t *testing.T) {
			b := sinktest.NewBucket()
			h := &holder{}
			k := mustOpen(t, b, h.step)
			s := sinktest.Hours("one", 0, 6)
			h.hold(what)
			n := 40
			if strings.HasPrefix(what, "put") {
				n = 2 // one piece
			}
			bodies := sinktest.Bodies(s, n)
			tx, err := k.Begin(context.Background(), s, 0, sinktest.Schema)
			if err != nil {
				t.Fatal(err)
			}
			if err = sinktest.Append(context.Background(), tx, s, bodies); err == nil {
				err = commit(tx, bodies)
			}
			if !errors.Is(err, sinktest.ErrLost) || errors.Is(err, sinks.ErrInDoubt) {
				t.Fatalf("%v, want ErrLost and no doubt", err)
			}
			_ = tx.Abort()
			next := mustOpen(t, b, nil)
			if err := h.late(); what[:3] == "put" && err != nil {
				t.Fatal(err)
			} else if what[:3] == "com" && err == nil {
				t.Error("an upload was completed that had been given up")
			}
			tx, bodies = attempt(t, next, s, n)
			if err := commit(tx, bodies); err != nil {
				t.Fatal(err)
			}
			wantVisible(t, b, bodies)
			restarts(t, b)
			wantVisible(t, b, bodies)
			wantClean(t, b)
		})
	}
}

// Two processes write to one prefix, each its own cuts of the same days, and both start anew now and then.
func TestTwoProcesses(t *testing.T) {
	b := sinktest.NewBucket()
	mustOpen(t, b, nil)
	ctx := context.Background()
	var all sync.Map // slice to bodies
	var wg sync.WaitGroup
	for p := range 2 {
		wg.Go(func() {
			k, err := inMemory(t, b, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for round := range 40 {
				if round%13 == 12 {
					if err := k.Close(); err != nil {
						t.Error(err)
					}
					if k, err = inMemory(t, b, nil); err != nil {
						t.Error(err)
						return
					}
				}
				from := (round*(5+2*p) + p) % 22
				s := sinktest.Hours("one", from, from+1+(round+p)%2)
				tx, err := k.Begin(ctx, s, 0, sinktest.Schema)
				if errors.Is(err, sinks.ErrOverlap) {
					continue
				} else if err != nil {
					t.Error(err)
					return
				}
				bodies := sinktest.Bodies(s, 12)
				if err = sinktest.Append(ctx, tx, s, bodies); err == nil {
					err = commit(tx, bodies)
				} else if aborted := tx.Abort(); aborted != nil {
					t.Error(aborted)
				}
				switch {
				case err == nil:
					if _, twice := all.LoadOrStore(s, bodies); twice {
						t.Errorf("%s was committed twice", s)
					}
				case !errors.Is(err, sinks.ErrOverlap) && !strings.Contains(err.Error(), "swept"):
					t.Errorf("%s: %v", s, err)
				}
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var want []string
	var covered flow.Ranges
	n := 0
	all.Range(func(s, bodies any) bool {
		r := s.(flow.Slice).Range()
		for _, c := range covered {
			if c.Meets(r) {
				t.Errorf("%s is covered twice", r)
			}
		}
		covered = append(covered, r)
		want = append(want, bodies.([]string)...)
		n++
		return true
	})
	if n < 8 {
		t.Errorf("%d commits: the processes were in each other's way", n)
	}
	wantVisible(t, b, want)
	restarts(t, b)
	wantVisible(t, b, want)
	wantClean(t, b)
}

// TestEntrySentTwice: a client that sends an entry again because the answer was lost finds its own number taken. That is the commit, not
// somebody else's, for which its parts would be deleted.
func TestEntrySentTwice(t *testing.T) {
	b := sinktest.NewBucket()
	k := mustOpen(t, b, func(name string, do func() error) error {
		err := do()
		if err == nil && strings.Contains(name, "/commits/") {
			return fmt.Errorf("sent again: %w", fs.ErrExist)
		}
		return err
	})
	var all []string
	for h := range 2 {
		s := sinktest.Hours("one", h, h+1)
		tx, bodies := attempt(t, k, s, 60)
		if err := commit(tx, bodies); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Lookup(context.Background(), s); err != nil {
			t.Error(err)
		}
		all = append(all, bodies...)
	}
	wantVisible(t, b, all)
	wantClean(t, b)
}
