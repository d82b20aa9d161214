package wire

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// WriteTo implements io.WriterTo: it writes the frame piece by piece, without a copy of the whole.
func (f *Frame) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(f.head)
	sum := int64(n)
	for _, p := range f.pieces {
		if err != nil {
			return sum, err
		}
		n, err = w.Write(p)
		sum += int64(n)
	}
	return sum, err
}

// Stored is a frame that was kept outside of a connection, with what a message says beside it.
type Stored struct {
	Frame       []byte // begins at an aligned address, or Decode moves its body
	Rows        uint64
	NullColumns []uint32 // ascending
}

// DecodeStored is Decode for a frame that was kept. The record's arrays point into s.Frame, which belongs to the record from here on:
// free is called once, when nothing needs it any more, also after an error.
func (l *Layout) DecodeStored(s Stored, free func()) (arrow.Record, error) {
	root := memory.NewBufferWithAllocator(s.Frame, &storedOwner{free})
	defer root.Release()
	switch {
	case s.Rows < 1 || s.Rows > MaxRows:
		return nil, corrupt(fmt.Errorf("frame of %d rows, want 1 to %d", s.Rows, MaxRows))
	case len(s.Frame) == 0:
		return nil, corrupt(errors.New("no frame"))
	}
	return l.decode(root, 0, len(s.Frame), int(s.Rows), s.NullColumns)
}

// storedOwner calls free when the last reference to a frame ends.
type storedOwner struct{ free func() }

// Allocate implements memory.Allocator; frames never grow.
func (*storedOwner) Allocate(n int) []byte { return make([]byte, n) }

// Reallocate implements memory.Allocator.
func (*storedOwner) Reallocate(n int, b []byte) []byte { return append(make([]byte, 0, n), b...)[:n] }

// Free implements memory.Allocator.
func (o *storedOwner) Free([]byte) {
	if o.free != nil {
		o.free()
	}
}
