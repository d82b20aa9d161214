package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestLastPieceFails: an object that lacks its end isn't completed.
func TestLastPieceFails(t *testing.T) {
	for n := 1; n <= 3; n++ {
		b := sinktest.NewBucket()
		var failed atomic.Int64
		k := mustOpen(t, b, func(name string, do func() error) error {
			if strings.HasPrefix(name, fmt.Sprintf("piece %d of", n)) {
				failed.Add(1)
				return errors.New("the connection broke")
			}
			return do()
		})
		s := sinktest.Hours("one", 0, 6)
		if _, err := sinktest.Write(context.Background(), k, s, sinktest.Bodies(s, 12)); err == nil || failed.Load() == 0 {
			t.Errorf("piece %d failed %d times: %v", n, failed.Load(), err)
		}
		if left := data(b); len(left) > 0 {
			t.Errorf("piece %d: objects %q", n, left)
		}
	}
}

// TestKilledUpload: what a process had sent of an object when it was killed isn't paid for until the end of days.
func TestKilledUpload(t *testing.T) {
	b := sinktest.NewBucket()
	var dead atomic.Bool
	k := mustOpen(t, b, func(name string, do func() error) error {
		if dead.Load() || strings.HasPrefix(name, "piece 2 of") {
			dead.Store(true)
			return sinktest.ErrCrash
		}
		return do()
	})
	s := sinktest.Hours("one", 0, 6)
	if _, err := sinktest.Write(context.Background(), k, s, sinktest.Bodies(s, 40)); !errors.Is(err, sinktest.ErrCrash) {
		t.Fatal(err)
	}
	if len(b.Uploads()) == 0 {
		t.Fatal("nothing was begun")
	}
	restarts(t, b)
	if left := b.Uploads(); len(left) > 0 {
		t.Errorf("unfinished uploads: %q", left)
	}
	if left := data(b); len(left) > 0 {
		t.Errorf("objects: %q", left)
	}
}

// lax is a store on which an upload can't be given up, as on Azure.
type lax struct{ commitlog.Store }

func (s lax) NewUpload(ctx context.Context, key string) (commitlog.Upload, error) {
	u, err := s.Store.NewUpload(ctx, key)
	return laxUpload{u}, err
}

func (lax) AbortUploads(context.Context, string, func(string) bool) error { return nil }

type laxUpload struct{ commitlog.Upload }

func (laxUpload) Abort(context.Context) error { return nil }

// TestLateUpload: an upload whose end wasn't answered may become an object long after its attempt was given up, and later starts look for it.
func TestLateUpload(t *testing.T) {
	b := sinktest.NewBucket()
	h := &holder{}
	start := func(step sinktest.RemoteStep) *parts.Sink {
		t.Helper()
		k, err := open(context.Background(), config(t, map[string]any{"bucket": "lake", "part_size": 4096}), seam{
			connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) {
				return sinktest.Stepped(lax{b}, step), nil
			},
			piece: 1500,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		return k
	}
	k := start(h.step)
	s := sinktest.Hours("one", 0, 6)
	h.hold("complete stream=")
	bodies := sinktest.Bodies(s, 40)
	tx, err := k.Begin(context.Background(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err = sinktest.Append(context.Background(), tx, s, bodies); err == nil {
		err = commit(tx, bodies)
	}
	if !errors.Is(err, sinktest.ErrLost) {
		t.Fatalf("%v, want ErrLost", err)
	}
	_ = tx.Abort()
	start(nil)
	if err := h.late(); err != nil {
		t.Fatal(err)
	}
	start(nil)
	start(nil)
	wantVisible(t, b, nil)
	if left := data(b); len(left) > 0 {
		t.Errorf("objects of a slice that was given up: %q", left)
	}
}

// TestFailedPiecesAreKept: a client may be sending a piece still whose request has failed, so its memory isn't another's then.
func TestFailedPiecesAreKept(t *testing.T) {
	b := sinktest.NewBucket()
	s := &failing{Store: b}
	k, err := open(context.Background(), config(t, map[string]any{"bucket": "lake"}), seam{
		connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) { return s, nil }, piece: 4 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for h := range 20 {
		one, two := sinktest.Hours("one", h, h+1), sinktest.Hours("two", h, h+1)
		s.fails.Store(true)
		if _, err := sinktest.Write(context.Background(), k, one, sinktest.Bodies(one, 60)); err == nil {
			t.Fatal("committed")
		}
		s.fails.Store(false)
		if _, err := sinktest.Write(context.Background(), k, two, sinktest.Bodies(two, 60)); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.pieces {
		if !bytes.Equal(p.b, p.was) {
			t.Fatalf("failed piece %d of %d has other bytes now", i, len(s.pieces))
		}
	}
	if len(s.pieces) < 20 {
		t.Errorf("%d pieces failed", len(s.pieces))
	}
}

// failing is a store whose pieces fail while it is told so; it remembers them.
type failing struct {
	commitlog.Store
	fails  atomic.Bool
	mu     sync.Mutex
	pieces []struct{ b, was []byte }
}

func (s *failing) NewUpload(ctx context.Context, key string) (commitlog.Upload, error) {
	u, err := s.Store.NewUpload(ctx, key)
	return failingUpload{u, s}, err
}

type failingUpload struct {
	commitlog.Upload
	store *failing
}

func (u failingUpload) Put(ctx context.Context, n int, b []byte) error {
	if !u.store.fails.Load() {
		return u.Upload.Put(ctx, n, b)
	}
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	u.store.pieces = append(u.store.pieces, struct{ b, was []byte }{b, bytes.Clone(b)})
	return errors.New("the connection broke")
}

// TestAppendEnds: a record that is larger than everything waits for its upload, and no longer than its caller does.
func TestAppendEnds(t *testing.T) {
	s := &stuck{Store: sinktest.NewBucket(), begun: make(chan struct{}, 64), given: make(chan struct{})}
	k, err := open(context.Background(), config(t, map[string]any{"bucket": "lake"}), seam{
		connect: func(context.Context, place, sinks.Config) (commitlog.Store, error) { return s, nil }, piece: 4 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	one := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(context.Background(), one, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- sinktest.Append(ctx, tx, one, []string{strings.Repeat("x", 2<<20)}) }()
	<-s.begun
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("append waits on")
		close(s.given)
	}
	if err := tx.Abort(); err != nil {
		t.Error(err)
	}
}

// stuck is a store that answers no piece.
type stuck struct {
	commitlog.Store
	begun chan struct{}
	given chan struct{} // closed: the test has failed, and ends
}

func (s *stuck) NewUpload(ctx context.Context, key string) (commitlog.Upload, error) {
	u, err := s.Store.NewUpload(ctx, key)
	return stuckUpload{u, s}, err
}

type stuckUpload struct {
	commitlog.Upload
	store *stuck
}

func (u stuckUpload) Put(ctx context.Context, _ int, _ []byte) error {
	u.store.begun <- struct{}{}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-u.store.given:
		return errors.New("given up")
	}
}
