package shm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is one memory as its two sides have it.
func pair(t *testing.T) (receiver, sender *Memory, file *os.File) {
	t.Helper()
	receiver, file, err := Create()
	if err != nil {
		t.Fatal(err)
	}
	sender, err = Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := errors.Join(receiver.Close(), sender.Close()); err != nil {
				t.Error(err)
			}
		}
		_ = file.Close()
	})
	return receiver, sender, file
}

func fillWith(b byte) func([]byte) {
	return func(place []byte) { copy(place, bytes.Repeat([]byte{b}, len(place))) }
}

func TestFramesGoRound(t *testing.T) {
	r, m, _ := pair(t)
	s, other := m.NewSender(), m.NewSender()
	defer s.Close()
	defer other.Close()
	for round := range 3 {
		var refs []Ref
		for i := range Slots {
			ref, ok := s.Put(1000+i, fillWith(byte(round*Slots+i)))
			if !ok {
				t.Fatalf("round %d: slot %d of %d isn't free", round, i, Slots)
			}
			refs = append(refs, ref)
		}
		if _, ok := other.Put(1, fillWith(0)); ok {
			t.Fatal("more frames than slots")
		}
		if !s.InUse() || other.InUse() {
			t.Error("InUse is wrong while the slots are full")
		}
		for i, ref := range refs {
			place := make([]byte, ref.Length)
			if err := r.Take(ref, place); err != nil || !bytes.Equal(place, bytes.Repeat([]byte{byte(round*Slots + i)}, 1000+i)) {
				t.Errorf("round %d, frame %d: %v", round, i, err)
			}
			if err := r.Take(ref, place); !errors.Is(err, ErrGone) {
				t.Errorf("taken twice: %v", err)
			}
		}
		if s.InUse() {
			t.Error("InUse after all were taken")
		}
	}
	for length, want := range map[int]bool{0: false, 1: true, m.Most(): true, m.Most() + 1: false} {
		if _, ok := s.Put(length, fillWith(1)); ok != want {
			t.Errorf("Put of %d bytes: %v", length, ok)
		}
	}
}

func TestReferencesThatNobodyGave(t *testing.T) {
	r, m, _ := pair(t)
	s := m.NewSender()
	defer s.Close()
	good, _ := s.Put(100, fillWith(1))
	for name, ref := range map[string]Ref{
		"slot":   {Slot: Slots, Ticket: good.Ticket, Length: 100},
		"far":    {Slot: 1<<32 - 1, Ticket: good.Ticket, Length: 100},
		"length": {Slot: good.Slot, Ticket: good.Ticket, Length: 1 << 40},
		"other":  {Slot: good.Slot, Ticket: good.Ticket, Length: 99},
		"zero":   {Slot: good.Slot, Length: 100},
	} {
		if err := r.Take(ref, make([]byte, 100)); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want an error that says what is wrong", name, err)
		}
	}
	for name, ref := range map[string]Ref{
		"ticket": {Slot: good.Slot, Ticket: good.Ticket + 1, Length: 100},
		"free":   {Slot: good.Slot + 1, Ticket: good.Ticket, Length: 100},
	} {
		if err := r.Take(ref, make([]byte, 100)); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want ErrGone", name, err)
		}
	}
	if err := r.Take(good, make([]byte, 100)); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// TestTakenBack: what a closed sender put can't be read any more, and its slot holds another's frame unharmed.
func TestTakenBack(t *testing.T) {
	r, m, _ := pair(t)
	s, next := m.NewSender(), m.NewSender()
	old, _ := s.Put(100, fillWith(1))
	s.Close()
	place := make([]byte, 100)
	if err := r.Take(old, place); !errors.Is(err, ErrGone) {
		t.Errorf("taken back: %v", err)
	}
	other, _ := next.Put(100, fillWith(2))
	if other.Slot != old.Slot || other.Ticket == old.Ticket {
		t.Fatalf("%+v after %+v", other, old)
	}
	if err := r.Take(old, place); !errors.Is(err, ErrGone) {
		t.Errorf("taken back, its slot in use again: %v", err)
	}
	s.Close() // again: it has nothing there
	if err := r.Take(other, place); err != nil || place[0] != 2 {
		t.Errorf("the other's: %v, %d", err, place[0])
	}
	next.Close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := next.Put(1, fillWith(0)); ok || next.InUse() {
		t.Error("unmapped memory takes a frame")
	}
	next.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Take(other, place); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Take of unmapped memory: %v", err)
	}
}

// TestNothingTornIsTaken: senders take back what is being copied and fill its slot anew. Whatever Take says is whole, is.
func TestNothingTornIsTaken(t *testing.T) {
	const size = 256 << 10
	r, m, _ := pair(t)
	refs := make(chan Ref, 4*Slots)
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 400 {
				s := m.NewSender()
				fill := func(place []byte) {
					for at := 0; at < len(place); at += 8 {
						binary.LittleEndian.PutUint64(place[at:], uint64(g<<32|i))
					}
				}
				if ref, ok := s.Put(size, fill); ok {
					refs <- ref
				}
				s.Close()
			}
		})
	}
	go func() { wg.Wait(); close(refs) }()
	place := make([]byte, size)
	taken, gone := 0, 0
	for ref := range refs {
		switch err := r.Take(ref, place); {
		case errors.Is(err, ErrGone):
			gone++
			continue
		case err != nil:
			t.Fatal(err)
		}
		taken++
		for at := 8; at < size; at += 8 {
			if !bytes.Equal(place[at:at+8], place[:8]) {
				t.Fatalf("a frame of two: %x at 0, %x at %d", place[:8], place[at:at+8], at)
			}
		}
	}
	t.Logf("%d taken, %d gone", taken, gone)
	if gone == 0 {
		t.Error("nothing was taken back: the test tests nothing")
	}
}

// TestLengthIsSealed: neither side can make the memory shorter, which would end whoever looks at what is gone.
func TestLengthIsSealed(t *testing.T) {
	_, _, file := pair(t)
	for _, size := range []int64{0, page, Size + 1} {
		if err := file.Truncate(size); !errors.Is(err, os.ErrPermission) {
			t.Errorf("Truncate(%d) = %v, want that it isn't permitted", size, err)
		}
	}
}

func TestFilesThatArentShared(t *testing.T) {
	memfd := func(size int64, first string, flags int) *os.File {
		fd, err := unix.MemfdCreate("test", flags)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "test")
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(first), 0); err != nil {
			t.Fatal(err)
		}
		return f
	}
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Truncate(Size); err != nil {
		t.Fatal(err)
	}
	head := func(slots uint32, size uint64) string {
		b := append([]byte(magic), make([]byte, 16)...)
		binary.LittleEndian.PutUint32(b[8:], slots)
		binary.LittleEndian.PutUint64(b[16:], size)
		return string(b)
	}
	for name, tt := range map[string]struct {
		file *os.File
		want string
	}{
		"a file":         {plain, "can't share memory"},
		"unsealable":     {memfd(Size, head(Slots, slotSize), 0), "isn't sealed"},
		"too short":      {memfd(100, "x", unix.MFD_ALLOW_SEALING), "of 100 bytes"},
		"other contents": {memfd(Size, "something else", unix.MFD_ALLOW_SEALING), "of this version"},
		"no slots":       {memfd(Size, head(0, slotSize), unix.MFD_ALLOW_SEALING), "0 slots"},
		"too many":       {memfd(Size, head(1<<31, slotSize), unix.MFD_ALLOW_SEALING), "don't fill"},
		"larger slots":   {memfd(Size, head(Slots, slotSize+1), unix.MFD_ALLOW_SEALING), "don't fill"},
		"overflow":       {memfd(Size, head(2, 1<<63), unix.MFD_ALLOW_SEALING), "don't fill"},
	} {
		if m, err := Open(tt.file); m != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		_ = tt.file.Close()
	}
}

func BenchmarkPutTake(b *testing.B) {
	r, file, err := Create()
	if err != nil {
		b.Fatal(err)
	}
	m, err := Open(file)
	if err != nil {
		b.Fatal(err)
	}
	s := m.NewSender()
	frame, place := make([]byte, 1<<20), make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		ref, ok := s.Put(len(frame), func(to []byte) { copy(to, frame) })
		if !ok {
			b.Fatal("no slot is free")
		}
		if err := r.Take(ref, place); err != nil {
			b.Fatal(err)
		}
	}
}
