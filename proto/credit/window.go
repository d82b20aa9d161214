package credit

import (
	"fmt"
	"sync"
)

// Window is the receiver's end: it grants size bytes when it is opened, and what is released again after that. Safe for
// concurrent use.
//
// Grants are gathered: one is sent when at least a quarter of the size waits, or when nothing is outstanding or the sender
// has no credit left. grant is called by one goroutine at a time, in order, without a lock that Receive needs.
type Window struct {
	size  int64
	grant func(n int64) error

	mu          sync.Mutex
	open        bool
	closed      bool
	err         error // of grant: sticky
	sending     bool  // some goroutine is in grant
	credit      int64 // what the sender may still send, grants on their way included
	outstanding int64 // received and not released
	owed        int64 // released and not granted again
}

// NewWindow returns a window that isn't open. size must be above zero; grant sends n bytes of credit to the sender.
func NewWindow(size int64, grant func(n int64) error) *Window {
	if size < 1 {
		panic(fmt.Sprintf("credit: window of %d bytes", size))
	}
	return &Window{size: size, grant: grant}
}

// Open sends the first grant, of the window's whole size. A second Open does nothing.
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
	w.owed += w.size
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
	return w.owed >= w.size/4 || w.outstanding == 0 || w.credit <= 0
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
