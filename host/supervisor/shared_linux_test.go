package supervisor

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/arena"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/shm"
	"github.com/sluice-io/sluice/proto/wire"
)

// TestFramesComeByMemory: a plugin of the SDK puts its large frames into the memory that it was started with, and a host that has
// asked for encryption shares none. What comes is the same.
func TestFramesComeByMemory(t *testing.T) {
	t.Parallel()
	path := fakeSpec(t, "sdk").Path
	slice := fakeSlice("batches 20 200")
	for _, secure := range []bool{false, true} {
		s, _ := newSupervisor(t, Options{MutualTLS: secure})
		p := startSDK(t, s, path)
		if got := slices.Contains(p.description.Features, wire.FeatureSharedMemory); got == secure || got != (p.shared != nil) {
			t.Errorf("encrypted %v: features %q, memory %v", secure, p.description.Features, p.shared != nil)
		}
		if p.shared != nil {
			if err := p.proc.frame.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("the host keeps the file of a plugin's memory open: %v", err)
			}
		}
		r, err := p.Read(t.Context(), slice, ReadOptions{Share: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		sum, _, err := readAll(t.Context(), r)
		if !errors.Is(err, io.EOF) || sum != r.Manifest().Sum || sum.Rows != 20*(1<<20/200)+1 {
			t.Errorf("sum %+v, manifest %+v, %v", sum, r.Manifest(), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if p.shared != nil {
			if err := p.shared.Take(shm.Ref{Ticket: 1, Length: 1}, make([]byte, 1)); err == nil || errors.Is(err, shm.ErrGone) {
				t.Errorf("the memory outlives its plugin: %v", err)
			}
		}
	}

	// One that can't read it sees that frames do go that way.
	blind := grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.CodecWith(arena.NewPool(1<<20), nil)))
	s, _ := newSupervisor(t, Options{dial: []grpc.DialOption{blind}})
	p := startSDK(t, s, path)
	r, err := p.Read(t.Context(), slice, ReadOptions{Share: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAll(t.Context(), r); err == nil || !strings.Contains(err.Error(), "a frame in shared memory, of which there is none") {
		t.Errorf("%v, want that the frame isn't there", err)
	}
	_ = r.Close()
}

// TestMemoryIsUsedAgain: reads that the host gives up leave no slot behind.
func TestMemoryIsUsedAgain(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{})
	p := startSDK(t, s, fakeSpec(t, "sdk").Path)
	for range 3 * shm.Slots {
		r, err := p.Read(t.Context(), fakeSlice("batches 20 200"), ReadOptions{Share: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		item, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.Release(item)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := p.Read(t.Context(), fakeSlice("batches 200 200"), ReadOptions{Share: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var sum flow.Sum
	if sum, _, err = readAll(t.Context(), r); !errors.Is(err, io.EOF) || sum != r.Manifest().Sum {
		t.Errorf("sum %+v, manifest %+v, %v", sum, r.Manifest(), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	await(t, "every slot to be free", func() bool { return free(p.shared) == shm.Slots })
}

// free counts the slots that hold nothing, from this side of the memory: by filling them.
func free(m *shm.Memory) int {
	s := m.NewSender()
	defer s.Close()
	for n := 0; ; n++ {
		if _, ok := s.Put(1, func([]byte) {}); !ok {
			return n
		}
	}
}
