package wire

import (
	"sync"

	"google.golang.org/grpc/mem"
)

// dataFrame is the length of HTTP/2's DATA frames, in which messages arrive.
const dataFrame = 16 << 10

// dataBuffers is gRPC's pool of buffers for what arrives, but those of whole DATA frames keep their old contents: they are
// written over before they are read, and clearing them costs a pass over all data. Safe for concurrent use.
type dataBuffers struct{ whole sync.Pool }

var _ mem.BufferPool = (*dataBuffers)(nil)

// Get implements mem.BufferPool.
func (p *dataBuffers) Get(n int) *[]byte {
	if n <= dataFrame/2 || n > dataFrame {
		return mem.DefaultBufferPool().Get(n)
	}
	b, ok := p.whole.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, dataFrame)
		b = &fresh
	}
	*b = (*b)[:n]
	return b
}

// Put implements mem.BufferPool.
func (p *dataBuffers) Put(b *[]byte) {
	if cap(*b) != dataFrame {
		mem.DefaultBufferPool().Put(b)
		return
	}
	p.whole.Put(b)
}
