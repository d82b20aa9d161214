package commitlog

import (
	"context"
	"fmt"
	"io"

	"github.com/sluice-io/sluice/sinks"
)

// readPiece is how much of an object is asked for at a time: the time of a request is little beside that of its bytes.
const readPiece = 4 << 20

// OpenPart opens part i of a commit; fs.ErrNotExist if someone has deleted the object.
func (l *StoreLog) OpenPart(ctx context.Context, r sinks.Receipt, i int) (PartFile, error) {
	if err := l.checkOpen(); err != nil {
		return nil, err
	}
	f := &storePart{ctx: ctx, store: l.store, key: r.Parts[i].Path}
	var err error
	if f.piece, f.size, err = l.store.GetRange(ctx, f.key, 0, readPiece); err != nil {
		return nil, Fault("read a part", l.root, err)
	}
	f.next = int64(len(f.piece))
	return f, nil
}

// storePart is an object that is read back. Read has the piece that it is in and asks for the next one meanwhile.
type storePart struct {
	ctx   context.Context //nolint:containedctx // io.Reader takes none: it lives as long as the call of Audit
	store Store
	key   string
	size  int64

	piece []byte // that Read is in
	next  int64  // where the one that is asked for next begins
	ahead chan fetched
}

type fetched struct {
	piece []byte
	err   error
}

// Size implements PartFile.
func (f *storePart) Size() int64 { return f.size }

// get returns exactly n bytes from off on.
func (f *storePart) get(off, n int64) ([]byte, error) {
	b, size, err := f.store.GetRange(f.ctx, f.key, off, n)
	if err == nil && (size != f.size || int64(len(b)) != n) {
		err = fmt.Errorf("%s has changed while it was read: %d bytes, %d before", f.key, size, f.size)
	}
	return b, err
}

// Read implements io.Reader.
func (f *storePart) Read(b []byte) (int, error) {
	if f.ahead == nil && f.next < f.size {
		f.fetch()
	}
	if len(f.piece) == 0 {
		if f.ahead == nil {
			return 0, io.EOF
		}
		got := <-f.ahead
		f.ahead = nil
		if got.err != nil {
			return 0, got.err
		}
		f.piece = got.piece
		f.next += int64(len(got.piece))
	}
	n := copy(b, f.piece)
	f.piece = f.piece[n:]
	return n, nil
}

// fetch asks for the next piece.
func (f *storePart) fetch() {
	off, to := f.next, make(chan fetched, 1)
	f.ahead = to
	go func() {
		b, err := f.get(off, min(readPiece, f.size-off))
		to <- fetched{b, err}
	}()
}

// ReadAt implements io.ReaderAt.
func (f *storePart) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		if off+int64(n) >= f.size {
			return n, io.EOF
		}
		got, err := f.get(off+int64(n), min(readPiece, int64(len(b)-n), f.size-off-int64(n)))
		if err != nil {
			return n, err
		}
		n += copy(b[n:], got)
	}
	return n, nil
}

// Close implements io.Closer: it waits for what is asked for.
func (f *storePart) Close() error {
	if f.ahead != nil {
		<-f.ahead
		f.ahead = nil
	}
	return nil
}
