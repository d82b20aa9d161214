// Package arena keeps large blocks of memory for reuse. Fresh pages cost more than most of what is done with a log line,
// so blocks that carry frames go round instead of back to the garbage collector. A Pool is bounded: what is idle beyond its
// limit is dropped.
package arena

import (
	"math/bits"
	"sync"
)

// MinBlock is the length in bytes from which blocks are kept; shorter ones are plain allocations.
const MinBlock = 64 << 10

// maxBlock is the longest block that is kept: longer ones are rare, and keeping one would hold its memory for nothing.
const maxBlock = 32 << 20

// Pool hands out blocks and takes them back. Safe for concurrent use. Make one with NewPool.
type Pool struct {
	limit int

	mu        sync.Mutex
	overwrite bool
	idle      int
	free      [classes][][]byte
}

// Four classes an octave: a block is at most a quarter longer than what was asked for.
const (
	minShift = 16
	maxShift = 25
	classes  = (maxShift-minShift)*4 + 1
)

// NewPool returns a pool that keeps at most limit bytes idle.
func NewPool(limit int) *Pool { return &Pool{limit: limit} }

// Overwrite makes Put fill every block with 0xDB, so that a test sees who uses one after giving it back.
func (p *Pool) Overwrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.overwrite = true
}

// Get returns a block of n bytes with arbitrary contents, aligned to 64 bytes if n is at least MinBlock.
func (p *Pool) Get(n int) []byte {
	c, size := class(n)
	if c < 0 {
		return make([]byte, n)
	}
	p.mu.Lock()
	if stack := p.free[c]; len(stack) > 0 {
		block := stack[len(stack)-1]
		stack[len(stack)-1] = nil
		p.free[c] = stack[:len(stack)-1]
		p.idle -= size
		p.mu.Unlock()
		return block[:n]
	}
	p.mu.Unlock()
	return make([]byte, size)[:n] // the runtime aligns allocations of this size to pages
}

// Put gives back a block that Get returned, from its first byte. Nothing may use it afterwards. Blocks of other origin are
// left to the garbage collector unless they look like one of the pool's.
func (p *Pool) Put(block []byte) {
	size := cap(block)
	c, exact := class(size)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.overwrite {
		for i := range block[:size] {
			block[:size][i] = 0xDB
		}
	}
	if c < 0 || exact != size {
		return
	}
	if p.idle+size > p.limit {
		return
	}
	p.idle += size
	p.free[c] = append(p.free[c], block[:size])
}

// Idle returns the bytes that wait for reuse.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle
}

// class returns the index and length of the smallest class that holds n bytes, or -1 if such blocks aren't kept.
func class(n int) (index, size int) {
	if n < MinBlock || n > maxBlock {
		return -1, 0
	}
	shift := bits.Len(uint(n-1)) - 1 // n lies in (2^shift, 2^(shift+1)]
	if n == MinBlock {
		return 0, MinBlock
	}
	step := 1 << (shift - 2)
	quarter := (n - (1 << shift) + step - 1) / step // 1 to 4
	return (shift-minShift)*4 + quarter, 1<<shift + quarter*step
}
