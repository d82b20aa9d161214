package commitlog

import (
	"context"
	"errors"
	"io/fs"
	"sync"
)

// firstPiece is the room that a part begins with: most parts are small, and a whole piece for each would be memory for nothing.
const firstPiece = 256 << 10

// pieces is the memory of the parts of one log.
type pieces struct {
	size   int // of a piece of an upload
	atOnce int // that an upload sends
	free   sync.Pool
}

func (p *pieces) get() []byte {
	if b, ok := p.free.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func (p *pieces) put(b []byte) {
	if cap(b) >= p.size {
		p.free.Put(&b)
	}
}

// storeFile is a part on its way to a store: pieces are sent while the next one is filled. A part that fits in one piece is one put.
// Its methods are called from one goroutine.
type storeFile struct {
	staging *StoreStaging
	key     string
	pieces  *pieces

	buf    []byte // the piece that is being filled
	upload Upload // from the second piece on
	sent   int
	ended  bool
	places chan struct{} // one for each piece that is sent
	sends  sync.WaitGroup

	mu  sync.Mutex
	err error // the first of a send
}

// Write implements File.
func (f *storeFile) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if len(f.buf) == f.pieces.size {
			if err := f.send(); err != nil {
				return n, err
			}
		}
		took := min(len(b)-n, f.pieces.size-len(f.buf))
		f.grow(took)
		f.buf = append(f.buf, b[n:n+took]...)
		n += took
	}
	return n, nil
}

// grow makes room for n bytes, at most of one piece: append's own growth would go beyond it.
func (f *storeFile) grow(n int) {
	if need := len(f.buf) + n; need > cap(f.buf) {
		room := max(need, min(2*cap(f.buf), f.pieces.size), min(firstPiece, f.pieces.size))
		f.buf = append(make([]byte, 0, room), f.buf...)
	}
}

// send hands the filled piece to a goroutine, when one of the places is free.
func (f *storeFile) send() error {
	if err := f.failure(); err != nil {
		return err
	}
	if f.upload == nil {
		up, err := f.staging.log.store.NewUpload(f.staging.ctx, f.key)
		if err != nil {
			return f.staging.note(err)
		}
		f.upload, f.places = up, make(chan struct{}, f.pieces.atOnce)
	}
	select {
	case f.places <- struct{}{}:
	case <-f.staging.ctx.Done():
		return f.staging.ctx.Err()
	}
	f.sent++
	n, b := f.sent, f.buf
	f.sends.Go(func() {
		if err := f.upload.Put(f.staging.ctx, n, b); err != nil {
			f.fail(f.explain(err))
		} else {
			f.pieces.put(b)
		}
		<-f.places
	})
	f.buf = f.pieces.get()
	return nil
}

// explain tells an upload that someone else has ended from other causes.
func (f *storeFile) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return f.staging.sweptAway(err)
	}
	return err
}

func (f *storeFile) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *storeFile) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// Sync implements File: the object is there and whole.
func (f *storeFile) Sync() error {
	if f.ended {
		return errors.New("the part has ended")
	}
	s := f.staging
	if f.upload == nil {
		err := s.note(ours(s.log.store.PutAbsent(s.ctx, f.key, f.buf)))
		if f.ended = err == nil; !f.ended {
			f.fail(err)
		}
		return err
	}
	if len(f.buf) > 0 {
		if err := f.send(); err != nil {
			return err
		}
	}
	f.sends.Wait()
	if err := f.failure(); err != nil {
		return err
	}
	if err := s.note(ours(f.upload.Complete(s.ctx))); err != nil {
		return f.explain(err)
	}
	f.ended = true
	return nil
}

// ours takes a taken key for success: it has the attempt's nonce, so it was taken by an earlier try of the same request, whose
// answer was lost.
func ours(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Close implements File. A part that isn't there whole by then is given up.
func (f *storeFile) Close() error {
	if f.failure() == nil {
		f.pieces.put(f.buf)
	}
	f.buf = nil
	if f.ended || f.upload == nil {
		f.ended = true
		return nil
	}
	f.ended = true
	f.sends.Wait()
	f.staging.log.tidy(context.WithoutCancel(f.staging.ctx), "give up an upload", func(ctx context.Context) error {
		return f.staging.note(f.upload.Abort(ctx))
	})
	return nil
}
