package supervisor

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// TestNothingComesWithoutRelease keeps every item: after the share and one frame nothing arrives any more, and it goes on once
// they are released.
func TestNothingComesWithoutRelease(t *testing.T) {
	t.Parallel()
	const share = 100 << 10
	s, _ := newSupervisor(t, Options{})
	p := start(t, s, "serve")
	r, err := p.Read(t.Context(), fakeSlice("batches 50 1000"), ReadOptions{Share: share})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	items := make(chan flow.Item)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for {
			it, err := r.Next(ctx)
			if err != nil {
				ended <- err
				return
			}
			items <- it
		}
	}()
	var held []flow.Item
	var bytes, largest int64
	for quiet := false; !quiet; {
		select {
		case it := <-items:
			held = append(held, it)
			bytes += it.Batch.Bytes
			largest = max(largest, it.Batch.Bytes)
		case err := <-ended:
			t.Fatalf("the read ended with %v while %d bytes were held, of a share of %d", err, bytes, share)
		case <-time.After(500 * time.Millisecond):
			quiet = true
		}
	}
	if len(held) == 0 || bytes > share+largest {
		t.Errorf("%d items of %d bytes came without a release, want at most the share %d and one frame of %d", len(held), bytes, share, largest)
	}
	for _, it := range held {
		r.Release(it)
	}
	for {
		select {
		case it := <-items:
			r.Release(it)
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				t.Errorf("the read ended with %v", err)
			}
			return
		}
	}
}
