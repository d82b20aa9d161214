package credit

import (
	"fmt"
	"sync"
	"time"
)

// stall is how long a sender without credit waits before that counts as more than the processes taking turns.
const stall = 100 * time.Millisecond

// Window is the receiver's end: it grants size bytes when it is opened, and what is released again after that. Safe for
// concurrent use.
//
// Grants are gathered: one is sent when at least a quarter of the size waits, or when nothing is outstanding or the sender
// has no credit left. A window that begins smaller (see Begin) is in use up to a limit that doubles each time the receiver has
// nothing left and the sender has no credit, or had none for a while before that: more in flight would have kept both at work. grant is called by one goroutine at a time, in order, without a lock that Receive needs.
type Window struct {
	size  int64 // the most
	grant func(n int64) error

	mu          sync.Mutex
	limit       int64 // what is in use of size
	open        bool
	closed      bool
	err         error     // of grant: sticky
	sending     bool      // some goroutine is in grant
	credit      int64     // what the sender may still send, grants on their way included
	dryAt       time.Time // since when credit is 0 or less
	stalled     bool      // the sender had no credit for a while since the receiver last had nothing left
	outstanding int64     // received and not released
	owed        int64     // released and not granted again
}

// NewWindow returns a window that isn't open. size must be above zero; grant sends n bytes of credit to the sender.
func NewWindow(size int64, grant func(n int64) error) *Window {
	if size < 1 {
		panic(fmt.Sprintf("credit: window of %d bytes", size))
	}
	return &Window{size: size, limit: size, grant: grant}
}

// Begin has a window that isn't open yet begin with first bytes of its size: what is in flight takes memory, and a receiver that is slower than
// its sender has no use for more.
func (w *Window) Begin(first int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		w.limit = min(max(first, 1), w.size)
	}
}

// Open sends the first grant, of the window's whole size or what it begins with. A second Open does nothing.
func (w *Window) Open() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	if w.open {
		return w.err
	}
	w.open = true
	w.owed += w.limit
	return w.flush()
}

// Receive books a message of n bytes that has arrived. An error means that the sender broke the protocol: it had no
// credit left when it sent the message, or the length is negative. Nothing is booked then.
func (w *Window) Receive(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < 0 {
		return fmt.Errorf("credit: message of %d bytes", n)
	}
	if w.credit <= 0 {
		return fmt.Errorf("credit: message of %d bytes without credit (%d left)", n, w.credit)
	}
	if w.limit < w.size && w.credit <= n {
		w.dryAt = time.Now()
	}
	w.credit -= n
	w.outstanding += n
	return nil
}

// Release gives back n bytes that were received. It sends a grant when enough have gathered; after Close it only counts.
// Releasing more than is outstanding is an error of the caller's.
func (w *Window) Release(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < 0 || n > w.outstanding {
		return fmt.Errorf("credit: release of %d bytes, %d are outstanding", n, w.outstanding)
	}
	w.outstanding -= n
	w.owed += n
	if w.open && w.outstanding == 0 {
		if w.stalled || w.credit <= 0 {
			more := min(w.limit, w.size-w.limit)
			w.limit += more
			w.owed += more
		}
		w.stalled = false
	}
	return w.flush()
}

// flush sends what is owed if it is due. It unlocks while it sends: a grant may block on the transport, and Receive must
// not wait for that. A release that comes meanwhile is seen by the loop.
func (w *Window) flush() error {
	if w.sending {
		return w.err
	}
	for w.due() {
		n := w.owed
		w.owed = 0
		if w.limit < w.size && w.credit <= 0 && !w.dryAt.IsZero() && time.Since(w.dryAt) >= stall {
			w.stalled = true
		}
		w.credit += n // before it is sent: the sender may answer before grant returns
		w.sending = true
		w.mu.Unlock()
		err := w.grant(n)
		w.mu.Lock()
		w.sending = false
		if err != nil {
			w.err = fmt.Errorf("credit: grant of %d bytes: %w", n, err)
		}
	}
	return w.err
}

func (w *Window) due() bool {
	if !w.open || w.closed || w.err != nil || w.owed <= 0 {
		return false
	}
	return w.owed >= w.limit/4 || w.outstanding == 0 || w.credit <= 0
}

// Outstanding returns the bytes that were received and not released.
func (w *Window) Outstanding() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outstanding
}

// Close ends the sending of grants. Receive and Release go on counting. Idempotent.
func (w *Window) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}
