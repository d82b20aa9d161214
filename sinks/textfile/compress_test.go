package textfile

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestNoRaceCompressorMemory holds what Buffer declares for a compressor against the heap.
func TestNoRaceCompressorMemory(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		block := make([]byte, blockSize)
		r := rand.New(rand.NewPCG(1, 2))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		z, err := c.newCompressor()
		if err != nil {
			t.Fatal(err)
		}
		z.Reset(io.Discard)
		for range 64 {
			for i := range block {
				block[i] = "0123456789abcdef GET "[r.IntN(21)]
			}
			if _, err := z.Write(block); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > c.memory() {
			t.Errorf("%s holds %d bytes, declared are %d", c, held, c.memory())
		}
		runtime.KeepAlive(block)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
