package supervisor

import (
	"context"
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

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

// TestReadsBeginSmall: a read has credit for some frames before anybody has released one, however large its share is.
func TestReadsBeginSmall(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{})
	p := start(t, s, "serve")
	r, err := p.Read(t.Context(), fakeSlice("batches 40 10000"), ReadOptions{Share: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	it, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the first credit to be used", func() bool { return r.window.Outstanding() >= firstShare })
	time.Sleep(300 * time.Millisecond)
	if got, most := r.window.Outstanding(), firstShare+it.Batch.Bytes; got > most {
		t.Errorf("%d bytes came without a release, want at most %d", got, most)
	}
	r.Release(it)
}

// TestTinyItemsAreBounded: credit for some frames is credit for very many tiny items, each of which takes more than its bytes. They wait in
// the plugin, which isn't taken for silent meanwhile, and all come in the end.
func TestTinyItemsAreBounded(t *testing.T) {
	t.Parallel()
	const count = 3 * mostQueued
	s, _ := newSupervisor(t, Options{Timeouts: Timeouts{Silence: 200 * time.Millisecond}})
	p := start(t, s, "serve")
	configure(t, p)
	r, err := p.Read(t.Context(), fakeSlice("tiny "+strconv.Itoa(count)), ReadOptions{Share: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	it, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Release(it)
	queued := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.queue)
	}
	await(t, "a full queue", func() bool { return r.full.Load() })
	time.Sleep(time.Second)
	if n := queued(); n != mostQueued {
		t.Errorf("%d items are queued, want %d", n, mostQueued)
	}
	sum, _, err := readAll(t.Context(), r)
	if !errors.Is(err, io.EOF) || sum.Rows != count-1 {
		t.Errorf("%d rows, then %v; want %d", sum.Rows, err, count-1)
	}

	// One that is given up doesn't take what has come until then.
	if r, err = p.Read(t.Context(), fakeSlice("tiny "+strconv.Itoa(count)), ReadOptions{Share: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	if it, err = r.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Release(it)
	await(t, "a full queue", func() bool { return r.full.Load() })
	alive := r.alive.Load()
	if err := r.Close(); err != nil || r.alive.Load() != alive {
		t.Errorf("%d messages were taken by Close (%v)", r.alive.Load()-alive, err)
	}

	// A read that is asked to stop hears of its end.
	if r, err = p.Read(t.Context(), fakeSlice("tiny "+strconv.Itoa(count)), ReadOptions{Share: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "a full queue", func() bool { return r.full.Load() })
	r.Stop("enough")
	await(t, "the end", func() bool {
		select {
		case <-r.ended:
			return true
		default:
			return false
		}
	})
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

// TestQueueOf: of items with many columns fewer may wait.
func TestQueueOf(t *testing.T) {
	var many []arrow.Field
	for i := range 4000 {
		many = append(many, arrow.Field{Name: strconv.Itoa(i), Type: arrow.PrimitiveTypes.Int8})
	}
	inner := []arrow.Field{{Name: "s", Type: arrow.ListOf(arrow.StructOf(many...))}}
	for _, tt := range []struct {
		name   string
		fields []arrow.Field
		want   int
	}{
		{"log lines", fakeSchema.Fields(), mostQueued},
		{"many columns", many, queueMemory / (itemMemory + 4000*arrayMemory)},
		{"many inside", inner, queueMemory / (itemMemory + 4002*arrayMemory)},
	} {
		if got := queueOf(arrow.NewSchema(tt.fields, nil)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
