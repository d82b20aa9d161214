package rapid7download

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	blockSize  = 256 << 10 // bytes read from the wire before they are handed on, unless the wire is idle
	blockCount = 8         // one being filled, one being split, and two frames' worth between, so that they seldom wake each other
	idleTick   = 100 * time.Millisecond
)

// block is bytes on their way from the wire to the decoder. filled grows under readAhead.mu while the block is the current
// one; what lies before taken was handed on already.
type block struct {
	buf           []byte
	filled, taken int
}

// readBuffers keeps blocks of ended reads for the next.
type readBuffers struct{ pool sync.Pool }

func newReadBuffers() *readBuffers {
	return &readBuffers{pool: sync.Pool{New: func() any { return &block{buf: make([]byte, blockSize)} }}}
}

// readAhead reads a stream in a goroutine of its own, so that reading overlaps with splitting and sending, by at most
// blockCount blocks. close waits for the goroutine.
type readAhead struct {
	buffers *readBuffers
	news    *news
	free    chan *block // blocks to fill; closed by close
	full    chan *block // blocks in order; closed by the goroutine after it has set err
	err     error
	done    sync.WaitGroup
	tick    *time.Timer
	held    *block // handed on by the last call of next

	mu      sync.Mutex
	current *block // being filled
}

func newReadAhead(r io.Reader, buffers *readBuffers, news *news) *readAhead {
	a := &readAhead{
		buffers: buffers, news: news,
		free: make(chan *block, blockCount), full: make(chan *block, blockCount),
		tick: time.NewTimer(idleTick),
	}
	news.detach()
	for range blockCount {
		a.free <- buffers.pool.Get().(*block)
	}
	a.done.Go(func() { a.fill(r) })
	return a
}

// fill runs until the stream ends, fails, or close takes the blocks away.
func (a *readAhead) fill(r io.Reader) {
	defer close(a.full)
	for b := range a.free {
		b.filled, b.taken = 0, 0
		a.mu.Lock()
		a.current = b
		a.mu.Unlock()
		var err error
		for err == nil && b.filled < len(b.buf) {
			var n int
			n, err = r.Read(b.buf[b.filled:])
			a.mu.Lock()
			b.filled += n
			a.mu.Unlock()
		}
		// Both under one lock, so that next never takes a later block's bytes before this one's.
		a.mu.Lock()
		a.current = nil
		a.full <- b // never blocks: it holds all blocks
		a.mu.Unlock()
		if err != nil {
			a.err = err
			return
		}
	}
}

// next returns the next bytes, valid until it is called again; none, without an error, when nothing has come for a tick. It
// returns the stream's error, io.EOF at a proved end, after all bytes. It also passes on what the stream waits for.
func (a *readAhead) next(ctx context.Context) ([]byte, error) {
	if a.held != nil {
		a.free <- a.held
		a.held = nil
	}
	a.tick.Reset(idleTick)
	for {
		select {
		case b, ok := <-a.full:
			if !ok {
				return nil, a.err
			}
			if b.taken == b.filled { // all of it was taken while it was being filled
				a.free <- b
				continue
			}
			a.held = b
			return b.buf[b.taken:b.filled], nil
		case <-a.news.ready:
			if err := a.news.pass(); err != nil {
				return nil, err
			}
		case <-a.tick.C:
			if p, ok := a.partial(); ok {
				return p, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// partial takes what has come of the block that is being filled; ok is false if a full block waits.
func (a *readAhead) partial() (p []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.full) > 0 {
		return nil, false
	}
	if a.current == nil {
		return nil, true
	}
	p = a.current.buf[a.current.taken:a.current.filled]
	a.current.taken = a.current.filled
	return p, true
}

// close waits for the goroutine; whoever calls it has ended the stream's context.
func (a *readAhead) close() {
	close(a.free)
	a.tick.Stop()
	a.done.Wait()
	for b := range a.full {
		a.buffers.pool.Put(b)
	}
	for b := range a.free {
		a.buffers.pool.Put(b)
	}
	if a.held != nil {
		a.buffers.pool.Put(a.held)
	}
}

// news carries what a read waits for to the emitter, which only one goroutine may use: straight through until the stream
// has a goroutine of its own, by way of next from then on.
type news struct {
	emit  func(time.Time, string) error
	ready chan struct{} // nil: straight through

	mu    sync.Mutex
	until time.Time
	why   string
}

func (n *news) detach() { n.ready = make(chan struct{}, 1) }

func (n *news) waiting(until time.Time, why string) error {
	if n.ready == nil {
		return n.emit(until, why)
	}
	n.mu.Lock()
	n.until, n.why = until, why
	n.mu.Unlock()
	select {
	case n.ready <- struct{}{}:
	default: // the last one hasn't been passed on: it is replaced
	}
	return nil
}

func (n *news) pass() error {
	n.mu.Lock()
	until, why := n.until, n.why
	n.mu.Unlock()
	return n.emit(until, why)
}
