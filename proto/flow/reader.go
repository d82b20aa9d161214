package flow

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
)

// Batch is one Arrow record batch of a slice. Seq counts from 0 without gaps; Bytes is the length of its message on the
// wire, which is what credit counts.
type Batch struct {
	Slice   SliceID
	Seq     uint64
	Records arrow.Record // owned by whoever took the Item, until Release
	Bytes   int64
	Sum     Sum // of Records, if the reader counted it, so that nobody has to hash the bytes again; zero if it didn't
}

// DeadPiece is a piece of a record that is too large or unfit for a batch. The pieces of one record come one after the
// other, none of another record between them, with growing Offset; the last has Last set and the reason.
type DeadPiece struct {
	Record uint64 // counts the slice's dead records from 0
	Offset int64  // of the first byte of this piece in the record
	Bytes  []byte
	Last   bool
	Reason string
}

// Item is what a Reader gives: exactly one field is set.
type Item struct {
	Batch *Batch
	Dead  *DeadPiece
}

// Size returns the bytes of credit that the item holds.
func (it Item) Size() int64 {
	switch {
	case it.Batch != nil:
		return it.Batch.Bytes
	case it.Dead != nil:
		return int64(len(it.Dead.Bytes))
	}
	return 0
}

// Reader reads one slice. Next and Close may be called from different goroutines, Release from any; Next from one at a
// time.
type Reader interface {
	// Next returns the next item. It returns io.EOF only after the manifest was received and found to equal what was
	// read, *Truncated when the read met the vendor's cap, and an error of io.ErrUnexpectedEOF's kind for a cut stream;
	// an error is final. ctx ends the whole read.
	Next(ctx context.Context) (Item, error)
	// Release gives back the item's memory and its credit. Exactly once per item; legal after Close.
	Release(it Item)
	// Manifest returns what was read; valid after Next has returned io.EOF.
	Manifest() Manifest
	// Close gives up what is left of the read and frees its stream. Idempotent.
	Close() error
}

// Truncated says that a read met the vendor's cap: the slice must never be committed. Into covers the slice's range
// exactly with at least two smaller slices; it is empty if the source has no evidence where to cut.
type Truncated struct {
	Slice Slice
	Into  []Slice
	Rows  uint64 // seen until the cap
	Bytes uint64
}

// Error implements error.
func (t *Truncated) Error() string {
	return fmt.Sprintf("slice %s: truncated by the vendor after %d rows", t.Slice, t.Rows)
}
