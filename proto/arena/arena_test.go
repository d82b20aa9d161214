package arena

import (
	"sync"
	"testing"
	"unsafe"
)

func TestClassesHoldWhatIsAsked(t *testing.T) {
	last := -1
	for n := MinBlock; n <= maxBlock; n += 4093 {
		c, size := class(n)
		if c < last || c >= classes {
			t.Fatalf("class(%d) = %d after %d, of %d", n, c, last, classes)
		}
		if size < n || size > n+n/4+1 {
			t.Fatalf("class(%d) holds %d bytes", n, size)
		}
		if again, exact := class(size); again != c || exact != size {
			t.Fatalf("class(%d) = %d of %d, but its own length gives %d of %d", n, c, size, again, exact)
		}
		last = c
	}
	if c, size := class(maxBlock); c != classes-1 || size != maxBlock {
		t.Fatalf("class of the longest = %d, %d", c, size)
	}
	for _, n := range []int{0, 1, MinBlock - 1, maxBlock + 1} {
		if c, _ := class(n); c >= 0 {
			t.Errorf("class(%d) = %d, want none", n, c)
		}
	}
}

func TestBlocksComeBack(t *testing.T) {
	p := NewPool(4 << 20)
	a := p.Get(1<<20 + 1)
	if uintptr(unsafe.Pointer(&a[0]))%64 != 0 {
		t.Error("block isn't aligned to 64 bytes")
	}
	p.Put(a)
	b := p.Get(1<<20 + 100)
	if &a[0] != &b[0] {
		t.Error("a block of the same class wasn't used again")
	}
	if got := p.Idle(); got != 0 {
		t.Errorf("idle = %d while the block is out", got)
	}
	p.Put(make([]byte, 100))
	p.Put(make([]byte, 100_000))
	if got := p.Idle(); got != 0 {
		t.Errorf("idle = %d after blocks of other origin", got)
	}
}

func TestIdleIsBounded(t *testing.T) {
	const limit = 2 << 20
	p := NewPool(limit)
	var blocks [][]byte
	for range 8 {
		blocks = append(blocks, p.Get(1<<20))
	}
	for _, b := range blocks {
		p.Put(b)
	}
	if got := p.Idle(); got != limit {
		t.Errorf("idle = %d, want the limit %d", got, limit)
	}
}

func TestBlocksAreNeverShared(t *testing.T) {
	p := NewPool(8 << 20)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for range 200 {
				b := p.Get(MinBlock + 1000*g)
				for i := range b {
					b[i] = byte(g)
				}
				for i := range b {
					if b[i] != byte(g) {
						t.Error("two users of one block")
						return
					}
				}
				p.Put(b)
			}
		})
	}
	wg.Wait()
}
