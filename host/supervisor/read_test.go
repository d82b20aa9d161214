package supervisor

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/arena"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

func fakeSlice(key string) flow.Slice {
	return flow.NewSlice(flow.Partition{Stream: "events", Key: key}, fakeDay, fakeDay.Add(24*time.Hour), 0)
}

// readAll takes all items and returns what their records and dead pieces sum up to.
func readAll(ctx context.Context, r *Read) (flow.Sum, []string, error) {
	var sum flow.Sum
	var dead []string
	h := flow.NewHasher()
	for {
		it, err := r.Next(ctx)
		if err != nil {
			return sum, dead, err
		}
		if it.Batch != nil {
			s, err := flow.SumRecord(it.Batch.Records)
			if err != nil {
				return sum, dead, err
			}
			sum = sum.Plus(s)
		} else {
			_, _ = h.Write(it.Dead.Bytes)
			if it.Dead.Last {
				dead = append(dead, it.Dead.Reason)
				sum = sum.Plus(h.Sum())
			}
		}
		r.Release(it)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	s, log := newSupervisor(t, Options{})
	p := start(t, s, "serve")
	configure(t, p)
	t.Run("complete", func(t *testing.T) {
		r, err := p.Read(t.Context(), fakeSlice("plain"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Schema().Equal(fakeSchema) || !r.VendorTime().Equal(fakeDay) {
			t.Errorf("schema %s, vendor's time %s", r.Schema(), r.VendorTime())
		}
		sum, _, err := readAll(t.Context(), r)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		want := flow.Manifest{Slice: fakeSlice("plain"), Sum: sum}
		if diff := cmp.Diff(want, r.Manifest()); diff != "" || sum.Rows != 2*fakeRows {
			t.Errorf("manifest (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]uint64{"batches": 2}, r.Counters()); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
		if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("Next after the end = %v", err)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Run("waiting", func(t *testing.T) {
		var heard []string
		r, err := p.Read(t.Context(), fakeSlice("waiting"), ReadOptions{Share: 1 << 20, Waiting: func(until time.Time, why string) {
			heard = append(heard, until.Format(flow.Layout)+" "+why)
		}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"2026-03-04T00:00:00.000Z budget ***"}, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("dead letters", func(t *testing.T) {
		r, err := p.Read(t.Context(), fakeSlice("dead"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		sum, dead, err := readAll(t.Context(), r)
		if !errors.Is(err, io.EOF) || sum != r.Manifest().Sum || sum.Rows != 2*fakeRows+2 || len(dead) != 2 || dead[0] != "too long" {
			t.Errorf("sum %+v, manifest %+v, dead %q, %v", sum, r.Manifest(), dead, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("no credit before Next", func(t *testing.T) {
		r, err := p.Read(t.Context(), fakeSlice("batches 3 200"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		alive := r.alive.Load()
		time.Sleep(50 * time.Millisecond)
		if got := r.alive.Load(); got != alive {
			t.Errorf("%d messages came before the first Next", got-alive)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("released twice, and after Close", func(t *testing.T) {
		r, err := p.Read(t.Context(), fakeSlice("plain"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		it, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if it.Batch.Records.NumRows() != fakeRows {
			t.Error("the item is gone before its release")
		}
		r.Release(it)
		if strings.Contains(log.String(), "released twice") {
			t.Error("the first release is told as the second")
		}
		r.Release(it)
		if !strings.Contains(log.String(), "released twice") {
			t.Error("the second release isn't told")
		}
		if _, err := r.Next(t.Context()); fault.KindOf(err) != fault.Canceled {
			t.Errorf("Next after Close = %v", err)
		}
	})
	t.Run("truncated", func(t *testing.T) {
		r, err := p.Read(t.Context(), fakeSlice("truncated"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = readAll(t.Context(), r)
		var tr *flow.Truncated
		if !errors.As(err, &tr) || len(tr.Into) != 3 || tr.Rows != 100 || tr.Bytes != 7 {
			t.Errorf("error = %v, %+v", err, tr)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		_, err = p.Read(t.Context(), fakeSlice("truncated-unknown"), ReadOptions{Share: 1 << 20})
		if !errors.As(err, &tr) || len(tr.Into) != 0 {
			t.Errorf("error = %v, %+v", err, tr)
		}
	})
	t.Run("a plugin's own error", func(t *testing.T) {
		_, err := p.Read(t.Context(), fakeSlice("auth"), ReadOptions{Share: 1 << 20})
		if fault.KindOf(err) != fault.Auth || err.Error() != "plugin fake: download: 401 for ***" || fault.HintOf(err) != "check the key" {
			t.Errorf("error = %v, hint %q", err, fault.HintOf(err))
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.Read(ctx, fakeSlice("hang-before"), ReadOptions{Share: 1 << 20}); fault.KindOf(err) != fault.Transient && fault.KindOf(err) != fault.Canceled {
			t.Errorf("error = %v", err)
		}
		r, err := p.Read(t.Context(), fakeSlice("hang"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, _, err := readAll(ctx, r); fault.KindOf(err) != fault.Canceled {
			t.Errorf("error = %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		other := fakeSlice("plain")
		other.Stream = "other"
		if _, err := p.Read(t.Context(), other, ReadOptions{Share: 1 << 20}); fault.KindOf(err) != fault.Config {
			t.Errorf("unknown stream: %v", err)
		}
		other = fakeSlice("plain")
		other.Key = "changed"
		if _, err := p.Read(t.Context(), other, ReadOptions{Share: 1 << 20}); fault.KindOf(err) != fault.Bug {
			t.Errorf("invalid slice: %v", err)
		}
		if _, err := p.Read(t.Context(), fakeSlice("plain"), ReadOptions{}); fault.KindOf(err) != fault.Bug {
			t.Errorf("no share: %v", err)
		}
	})
	if err := p.Err(); err != nil {
		t.Errorf("Err = %v", err)
	}
}

func TestReadsAreBoundedByCredit(t *testing.T) {
	t.Parallel()
	const share = 100 << 10
	pool := arena.NewPool(1 << 30)
	pool.Overwrite()
	s, _ := newSupervisor(t, Options{dial: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.CodecWith(pool, nil)))}})
	p := start(t, s, "serve")
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			r, err := p.Read(t.Context(), fakeSlice("batches 50 1000"), ReadOptions{Share: share})
			if err != nil {
				t.Error(err)
				return
			}
			var most int64
			var held []flow.Item
			for {
				it, err := r.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Error(err)
					break
				}
				most = max(most, r.window.Outstanding())
				if held = append(held, it); len(held) > 1 { // one is always kept back
					r.Release(held[0])
					held = held[1:]
				}
			}
			for _, it := range held {
				if s, err := flow.SumRecord(it.Batch.Records); err != nil || s.Rows != fakeRows {
					t.Errorf("a kept batch: %+v, %v", s, err)
				}
				r.Release(it)
			}
			if most > 2*share+20<<10 || r.window.Outstanding() != 0 {
				t.Errorf("outstanding: at most %d, at the end %d", most, r.window.Outstanding())
			}
			if got := r.Manifest().Rows; got != 50*fakeRows {
				t.Errorf("%d rows", got)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
}

func TestCloseFreesWhatIsQueued(t *testing.T) {
	t.Parallel()
	pool := arena.NewPool(1 << 30)
	s, _ := newSupervisor(t, Options{dial: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.CodecWith(pool, nil)))}})
	p := start(t, s, "serve")
	r, err := p.Read(t.Context(), fakeSlice("batches 50 1000"), ReadOptions{Share: 500 << 10})
	if err != nil {
		t.Fatal(err)
	}
	it, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var queued int
	await(t, "the credit to be used up", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		queued = len(r.queue)
		return r.window.Outstanding() >= 500<<10 && int64(queued+1) >= r.window.Outstanding()/it.Size()
	})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	one := pool.Idle() / queued
	if one < int(it.Size()) {
		t.Errorf("%d bytes came back for %d queued batches of %d", pool.Idle(), queued, it.Size())
	}
	r.Release(it)
	if got := pool.Idle(); got != one*(queued+1) {
		t.Errorf("%d bytes idle after the last release, want %d", got, one*(queued+1))
	}
}

func TestReadFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key   string
		wants []string
		hint  string
	}{
		{"exit", []string{"ended unexpectedly: exit code 4", "about to exit with ***"}, "log"},
		{"panic", []string{"ended unexpectedly: exit code 2", "panic: deep in a decoder"}, "log"},
		{"kill", []string{"ended unexpectedly: signal SIGKILL"}, "memory"},
		{"hang", []string{"hangs: no message in a read for 300ms"}, "network"},
		{"hang-before", []string{"hangs: no message in a read for 300ms"}, "network"},
		{"freeze", []string{"hangs: no message in a read for 300ms"}, "network"},
		{"schema", []string{"wrong schema: the stream events was declared as", "opened as"}, "update"},
		{"unopened", []string{"Done before Opened"}, "update"},
		{"opened-twice", []string{"Opened twice"}, "update"},
		{"overrun", []string{"data without credit"}, "update"},
		{"gap", []string{"batch 5 came where 0 was due"}, "update"},
		{"manifest", []string{"wrong manifest: it says 100 rows", "what arrived is 100 rows"}, "update"},
		{"rows", []string{"wrong manifest: it says 99 rows"}, "update"},
		{"after", []string{"a message after the last one"}, "update"},
		{"nodone", []string{"ended without Done"}, "update"},
		{"frame", []string{"wrong frame in batch 0"}, "update"},
		{"batches 1 100000", []string{"wrong frame in batch 0", "want at most 8388608"}, "update"},
		{"shared-gone", []string{"took a frame back from the shared memory"}, "update"},
		{"shared-slot", []string{"a message can't be read", "slot 1073741824"}, "update"},
		{"shared-both", []string{"a message can't be read", "2 frames"}, "update"},
		{"empty-message", []string{"empty or unknown message"}, "update"},
		{"dead-order", []string{"a piece of the dead record 1 came where one of 0 was due"}, "update"},
		{"dead-cut", []string{"Done within the dead record 0"}, "update"},
		{"truncated-one", []string{"one part is no cut"}, "update"},
		{"truncated-hole", []string{"don't cover"}, "update"},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			t.Parallel()
			o := Options{}
			if strings.Contains(tt.wants[0], "hangs") {
				o.Timeouts.Silence = 300 * time.Millisecond
			}
			s, _ := newSupervisor(t, o)
			p := start(t, s, "serve")
			configure(t, p)
			r, err := p.Read(t.Context(), fakeSlice(tt.key), ReadOptions{Share: 1 << 20})
			if err == nil {
				if tt.key == "overrun" {
					<-p.Done() // nothing was granted yet
				}
				_, _, err = readAll(t.Context(), r)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			check := func(err error) {
				t.Helper()
				if fault.KindOf(err) != fault.Crash || strings.Count(err.Error(), "plugin fake") != 1 {
					t.Fatalf("error = %v, want a Crash that names the plugin", err)
				}
				for _, want := range tt.wants {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q lacks %q", err, want)
					}
				}
				if got := fault.HintOf(err); !strings.Contains(got, tt.hint) {
					t.Errorf("hint %q lacks %q", got, tt.hint)
				}
			}
			check(err)
			<-p.Done()
			check(p.Err())
			if !gone(p.PID()) {
				t.Error("its process lives")
			}
			_, err = p.Read(t.Context(), fakeSlice("plain"), ReadOptions{Share: 1 << 20})
			check(err)
		})
	}
}

// TestFrameBounds: a record may take several times its length in a frame, and frames are a little longer than they were measured.
func TestFrameBounds(t *testing.T) {
	for _, tt := range []struct {
		name         string
		limits       Limits
		several, one int
	}{
		{"not told", Limits{}, 0, 0},
		{"told", Limits{FrameMax: 4 << 20, RecordMax: 16 << 20}, 8 << 20, 72 << 20},
		{"short", Limits{FrameMax: 1000, RecordMax: 100}, 1000 + 2<<20, 1400 + 2<<20},
		{"beyond any message", Limits{FrameMax: 1 << 62, RecordMax: 1 << 62}, 2 * wire.MaxMessage, 6 * wire.MaxMessage},
	} {
		several, one := (&Plugin{limits: tt.limits}).frameBounds()
		if several != tt.several || one != tt.one {
			t.Errorf("%s: %d and %d bytes, want %d and %d", tt.name, several, one, tt.several, tt.one)
		}
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{Timeouts: Timeouts{Stop: 300 * time.Millisecond}})
	t.Run("a read that obeys", func(t *testing.T) {
		p := start(t, s, "serve")
		r, err := p.Read(t.Context(), fakeSlice("stop"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if _, err := r.Next(t.Context()); fault.KindOf(err) != fault.Canceled {
			t.Errorf("Next = %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Errorf("second Stop = %v", err)
		}
		if _, err := p.Read(t.Context(), fakeSlice("stop"), ReadOptions{Share: 1 << 20}); fault.KindOf(err) != fault.Canceled {
			t.Errorf("Read after Stop = %v", err)
		}
	})
	t.Run("a read that doesn't", func(t *testing.T) {
		p := start(t, s, "serve")
		r, err := p.Read(t.Context(), fakeSlice("nostop"), ReadOptions{Share: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context()); fault.KindOf(err) != fault.Crash || !strings.Contains(err.Error(), "didn't end within 300ms") {
			t.Errorf("Stop = %v", err)
		}
		if _, err := r.Next(t.Context()); fault.KindOf(err) != fault.Crash {
			t.Errorf("Next = %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("at once", func(t *testing.T) {
		p := start(t, s, "serve")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = p.Stop(ctx) // killed, as asked
		if !gone(p.PID()) {
			t.Error("it lives")
		}
	})
}
