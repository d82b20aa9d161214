package plugins

import (
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/arena"
)

// Allocator is an Arrow allocator that uses long buffers again when their last reference ends, instead of asking the
// system for fresh pages, which costs more than most of what is done with a record. What waits for reuse is bounded.
// Safe for concurrent use; one serves a whole process.
//
// Buffers must be released: one that isn't is left to the garbage collector and never used again.
type Allocator struct {
	pool  *arena.Pool
	small memory.Allocator
	clear bool
}

// idleBlocks bounds in bytes the blocks of an Allocator that wait for reuse.
const idleBlocks = 32 << 20

// NewAllocator returns an allocator of zeroed memory, as Arrow's builders expect.
func NewAllocator() *Allocator {
	return &Allocator{pool: arena.NewPool(idleBlocks), small: memory.NewGoAllocator(), clear: true}
}

// Unzeroed returns an allocator over the same blocks that leaves their old contents in place: for buffers of which the
// caller writes every byte that is read.
func (a *Allocator) Unzeroed() *Allocator {
	return &Allocator{pool: a.pool, small: a.small}
}

// Allocate implements memory.Allocator.
func (a *Allocator) Allocate(size int) []byte {
	if size < arena.MinBlock {
		return a.small.Allocate(size)
	}
	b := a.pool.Get(size)
	if a.clear {
		clear(b)
	}
	return b
}

// Reallocate implements memory.Allocator. It stays in place while the block is long enough.
func (a *Allocator) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) {
		if a.clear && size > len(b) {
			clear(b[len(b):size])
		}
		return b[:size]
	}
	out := a.Allocate(size)
	copy(out, b)
	a.Free(b)
	return out
}

// Free implements memory.Allocator.
func (a *Allocator) Free(b []byte) { a.pool.Put(b) }

var _ memory.Allocator = (*Allocator)(nil)
