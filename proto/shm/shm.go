// Package shm is memory that a host and one plugin process share, in which frames of records travel past the socket: the sender copies a
// frame into a slot and tells slot, ticket and length in a message; the receiver copies it out, which frees the slot.
//
//	host:   m, file, err := shm.Create()      // the file is handed to the child
//	        err = m.Take(ref, place)
//	plugin: m, err := shm.Inherited(3)
//	        s := m.NewSender()
//	        ref, ok := s.Put(len, fill)       // false: send the frame itself
//	        defer s.Close()
//
// The file begins with a page: magic (8 bytes), number of slots (4), reserved (4), bytes of a slot (8), all little-endian; from byte 64 on, 64 bytes
// for each slot, of which the first 8 are its state. The slots follow, from byte 4,096 on.
//
// # Invariants
//
//   - A slot's state is 0 while it is free, else the ticket of the frame in it. Only the sender takes it from 0; either side sets it to 0, by
//     comparing it with the ticket it knows.
//   - Tickets are never used twice. What Take has copied is whole if the state was the ticket before and is it still after the copy: a
//     sender takes a slot back only from a receiver that was told to give up, and writes only to a slot whose state was 0.
//   - The receiver uses what it has copied, never what lies in the slot: what was judged is what is written.
//   - The file can't change its length: no access can fault.
package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	magic    = "sluicsh1"
	page     = 4096
	stride   = 64 // of the states: a cache line each
	firstAt  = 64 // of the states
	maxSlots = (page - firstAt) / stride
	// slotSize holds a frame of the usual target, 2 MiB, with room for a record more. What is longer goes over the socket.
	slotSize = 5 << 19
)

// Slots is how many frames the memory that Create makes has room for.
const Slots = 3

// Size is the length of the memory in bytes. Pages of it that no frame ever lay in take no memory.
const Size = page + Slots*slotSize

// ErrGone says that a slot doesn't hold the frame (any more): its sender took it back, or never put it there.
var ErrGone = errors.New("the shared memory doesn't hold the frame any more")

// ErrUnsupported is the error of systems without memory files that can be sealed.
var ErrUnsupported = errors.New("this system can't share memory by a sealed file")

// Ref says where a frame lies.
type Ref struct {
	Slot   uint32
	Ticket uint64
	Length uint64 // bytes
}

// Memory is the mapping of one side. Safe for concurrent use.
type Memory struct {
	slots, size int // bytes of a slot

	use  sync.RWMutex // read: data is used; write: it is unmapped
	data []byte       // nil once closed

	mu     sync.Mutex // the sender's: of what follows
	ticket uint64     // the last one given
	owners []*Sender  // of the slots' frames
	given  []uint64   // the slots' tickets
}

// newMemory checks the first page of what was mapped.
func newMemory(data []byte) (*Memory, error) {
	if len(data) < page || string(data[:len(magic)]) != magic {
		return nil, errors.New("the file isn't shared memory of this version")
	}
	slots, size := uint64(binary.LittleEndian.Uint32(data[8:])), binary.LittleEndian.Uint64(data[16:])
	if slots < 1 || slots > maxSlots || size < 1 || size > uint64(len(data)) || page+slots*size != uint64(len(data)) {
		return nil, fmt.Errorf("%d slots of %d bytes don't fill the %d bytes of shared memory", slots, size, len(data))
	}
	return &Memory{slots: int(slots), size: int(size), data: data, owners: make([]*Sender, slots), given: make([]uint64, slots)}, nil
}

// state returns the state of a slot; use is held.
func (m *Memory) state(slot int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&m.data[firstAt+slot*stride])) // aligned: the mapping begins with a page
}

// slot returns the bytes of a slot; use is held.
func (m *Memory) slot(slot int) []byte {
	at := page + slot*m.size
	return m.data[at : at+m.size : at+m.size]
}

// Take copies a frame into place, which has its length, and frees its slot. ErrGone: place holds nothing of use. Any other error says that no
// sender of this package wrote the reference.
func (m *Memory) Take(r Ref, place []byte) error {
	m.use.RLock()
	defer m.use.RUnlock()
	switch {
	case m.data == nil:
		return os.ErrClosed
	case uint64(r.Slot) >= uint64(m.slots):
		return fmt.Errorf("slot %d of shared memory that has %d", r.Slot, m.slots)
	case r.Length > uint64(m.size) || r.Length != uint64(len(place)):
		return fmt.Errorf("a frame of %d bytes in a slot of %d", r.Length, m.size)
	case r.Ticket == 0:
		return errors.New("a frame in shared memory without a ticket")
	}
	state := m.state(int(r.Slot))
	if state.Load() != r.Ticket {
		return ErrGone
	}
	copy(place, m.slot(int(r.Slot)))
	if !state.CompareAndSwap(r.Ticket, 0) {
		return ErrGone
	}
	return nil
}

// Most returns the longest frame, in bytes, that a slot holds.
func (m *Memory) Most() int { return m.size }

// Close unmaps the memory. Idempotent.
func (m *Memory) Close() error {
	m.use.Lock()
	defer m.use.Unlock()
	data := m.data
	m.data = nil
	if data == nil {
		return nil
	}
	return unmap(data)
}

// Sender puts the frames of one stream of messages. Not safe for concurrent use; several senders of one memory are.
type Sender struct{ memory *Memory }

// NewSender returns a sender, which must be closed.
func (m *Memory) NewSender() *Sender { return &Sender{memory: m} }

// Put has fill write a frame of a length into a free slot. It never waits: false says that the frame is too long or that no slot is free.
func (s *Sender) Put(length int, fill func(place []byte)) (Ref, bool) {
	m := s.memory
	m.use.RLock()
	defer m.use.RUnlock()
	if m.data == nil || length < 1 || length > m.size {
		return Ref{}, false
	}
	slot, ticket, ok := s.claim()
	if !ok {
		return Ref{}, false
	}
	filled := false
	defer func() { // a fill that panics leaves no slot behind
		if !filled {
			m.state(slot).CompareAndSwap(ticket, 0)
		}
	}()
	fill(m.slot(slot)[:length:length])
	filled = true
	return Ref{Slot: uint32(slot), Ticket: ticket, Length: uint64(length)}, true
}

func (s *Sender) claim() (slot int, ticket uint64, ok bool) {
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.slots {
		if m.state(i).Load() != 0 {
			continue
		}
		m.ticket++
		m.state(i).Store(m.ticket)
		m.owners[i], m.given[i] = s, m.ticket
		return i, m.ticket, true
	}
	return 0, 0, false
}

// InUse reports whether a frame of the sender's wasn't taken yet.
func (s *Sender) InUse() (used bool) {
	s.each(func(state *atomic.Uint64, given uint64) { used = used || state.Load() == given })
	return used
}

// Close takes back what wasn't taken: the receiver's Take of it will say ErrGone. It comes when the receiver reads no more of the messages, or
// has read them all.
func (s *Sender) Close() {
	s.each(func(state *atomic.Uint64, given uint64) { state.CompareAndSwap(given, 0) })
}

// each calls f for the slots whose last frame is the sender's, with the ticket of that.
func (s *Sender) each(f func(state *atomic.Uint64, given uint64)) {
	m := s.memory
	m.use.RLock()
	defer m.use.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, owner := range m.owners {
		if owner == s && m.data != nil {
			f(m.state(i), m.given[i])
		}
	}
}
