package recordid

import "math/rand/v2"

const (
	firstSlots = 1 << 10
	maxSlots   = 1 << 20 // of the largest table; it is filled to three quarters
	slotBytes  = 8 + 4
	shared     = 1 << 16 // counters that contents share which come when the table is full
)

// counts counts how often each content came, in bounded memory. Up to maxSlots*3/4 different contents have a counter of their own.
// Those that are new after that share counters: a number then depends on the order among the contents that share one, and is the
// same in a second read that sends the records in the same order. In both cases no content gets a number twice.
type counts struct {
	keys   []uint64 // 0: free
	counts []uint32
	used   int
	// mix is odd and by chance, so that nobody can choose lines that all meet in one place. It changes no result.
	mix   uint64
	extra []uint32
	max   int // slots
}

func newCounts() counts {
	return counts{keys: make([]uint64, firstSlots), counts: make([]uint32, firstSlots), mix: rand.Uint64() | 1, max: maxSlots}
}

// next returns how often key came before, and counts it. Two contents with one key, which chance doesn't make, share a counter.
func (c *counts) next(key uint64) uint64 {
	key = max(key, 1) // 0 marks a free place
	at, found := c.find(key)
	if !found {
		if c.used >= len(c.keys)/4*3 && !c.grow() {
			return c.nextShared(key)
		}
		at, _ = c.find(key)
		c.keys[at] = key
		c.used++
	}
	n := c.counts[at]
	c.counts[at] = n + 1
	return uint64(n)
}

func (c *counts) nextShared(key uint64) uint64 {
	if c.extra == nil {
		c.extra = make([]uint32, shared)
	}
	n := &c.extra[key%shared]
	*n++
	return uint64(*n)
}

// find returns the place of key, or the free one where it would be.
func (c *counts) find(key uint64) (at int, found bool) {
	mask := uint64(len(c.keys) - 1)
	for i := key * c.mix >> 32 & mask; ; i = (i + 1) & mask {
		if k := c.keys[i]; k == key || k == 0 {
			return int(i), k == key
		}
	}
}

// grow doubles the table; false: it is at its largest.
func (c *counts) grow() bool {
	if len(c.keys) >= c.max {
		return false
	}
	keys, numbers := c.keys, c.counts
	c.keys, c.counts = make([]uint64, 2*len(keys)), make([]uint32, 2*len(keys))
	for i, k := range keys {
		if k != 0 {
			at, _ := c.find(k)
			c.keys[at], c.counts[at] = k, numbers[i]
		}
	}
	return true
}
