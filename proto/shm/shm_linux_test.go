package shm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// TestNothingTornIsTaken: a sender takes back what is being copied and fills its slot anew. Whatever Take says is whole, is; and of some it
// has to say, after it has copied them, that they are gone.
func TestNothingTornIsTaken(t *testing.T) {
	r, m, _ := pair(t)
	size := m.Most()
	refs := make(chan Ref)
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		defer close(refs)
		for i := uint64(1); ; i++ {
			s := m.NewSender()
			ref, ok := s.Put(size, func(place []byte) {
				for at := 0; at < len(place); at += 8 {
					binary.LittleEndian.PutUint64(place[at:], i)
				}
			})
			if !ok {
				t.Error("no slot is free")
				return
			}
			select {
			case refs <- ref:
				time.Sleep(time.Duration(rand.IntN(int(2 * time.Millisecond))))
				s.Close()
			case <-done:
				s.Close()
				return
			}
		}
	})
	place := make([]byte, size)
	deadline := time.Now().Add(time.Minute)
	whole, late := 0, 0 // late: gone after something of it was copied
	for ref := range refs {
		clear(place)
		switch err := r.Take(ref, place); {
		case err == nil:
			whole++
			for at := 8; at < size; at += 8 {
				if !bytes.Equal(place[at:at+8], place[:8]) {
					t.Fatalf("a frame of two: %x at 0, %x at %d", place[:8], place[at:at+8], at)
				}
			}
		case errors.Is(err, ErrGone):
			if place[0] != 0 || place[1] != 0 || place[2] != 0 {
				late++
			}
		default:
			t.Fatal(err)
		}
		if late >= 3 && whole > 0 || time.Now().After(deadline) {
			break
		}
	}
	close(done)
	for range refs { // whichever is on its way
	}
	sending.Wait()
	if whole == 0 || late < 3 {
		t.Errorf("%d frames were whole and %d gone while they were copied: want some, and 3", whole, late)
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
	memfd := func(size int64, first string, sealed bool) *os.File {
		fd, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING)
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
		if sealed {
			if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
				t.Fatal(err)
			}
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
		"unsealable":     {memfd(Size, head(Slots, slotSize), false), "isn't sealed"},
		"too short":      {memfd(100, "x", true), "of 100 bytes"},
		"other contents": {memfd(Size, "something else", true), "of this version"},
		"no slots":       {memfd(Size, head(0, slotSize), true), "0 slots"},
		"too many":       {memfd(Size, head(1<<31, slotSize), true), "don't fill"},
		"larger slots":   {memfd(Size, head(Slots, slotSize+1), true), "don't fill"},
		"overflow":       {memfd(Size, head(2, 1<<63), true), "don't fill"},
	} {
		if m, err := Open(tt.file); m != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		_ = tt.file.Close()
	}
}

// TestInherited: the host's file is mapped and closed; another's file of that number is left alone.
func TestInherited(t *testing.T) {
	r, _, file := pair(t)
	theirs, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Inherited(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := unix.FcntlInt(uintptr(theirs), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the inherited file is still open: %v", err)
	}
	s := m.NewSender()
	defer s.Close()
	ref, _ := s.Put(3, fillWith(7))
	if place := make([]byte, 3); r.Take(ref, place) != nil || place[2] != 7 {
		t.Errorf("what was put isn't there: %v", place)
	}

	own, err := unix.MemfdCreate("own", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	if err := unix.Ftruncate(own, Size); err != nil {
		t.Fatal(err)
	}
	if m, err := Inherited(own); m != nil || err == nil {
		t.Errorf("a file of the plugin's own: %v, %v", m, err)
	}
	if seals, err := unix.FcntlInt(uintptr(own), unix.F_GET_SEALS, 0); err != nil || seals != 0 {
		t.Errorf("a file of the plugin's own is closed or sealed: %x, %v", seals, err)
	}
	if _, err := Inherited(99_999); err == nil {
		t.Error("a number that no open file has")
	}
}

// TestPanicInPut: a fill that panics leaves its slot free.
func TestPanicInPut(t *testing.T) {
	_, m, _ := pair(t)
	s := m.NewSender()
	defer s.Close()
	for range Slots + 1 {
		func() {
			defer func() { _ = recover() }()
			s.Put(1, func([]byte) { panic("fill") })
		}()
	}
	if s.InUse() {
		t.Error("a slot stays in use")
	}
	if _, ok := s.Put(1, fillWith(1)); !ok {
		t.Error("no slot is free")
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
