package wire

import "testing"

func TestDataBuffers(t *testing.T) {
	var p dataBuffers
	for _, n := range []int{0, 1, 9, 4096, dataFrame / 2, dataFrame/2 + 1, dataFrame - 1, dataFrame, dataFrame + 1, 1 << 20} {
		for range 3 {
			b := p.Get(n)
			if len(*b) != n {
				t.Fatalf("%d bytes, want %d", len(*b), n)
			}
			p.Put(b)
		}
	}
	// A buffer is got from where it was put, at its whole length, whatever it was used for.
	b := p.Get(dataFrame - 1)
	if cap(*b) != dataFrame {
		t.Fatalf("capacity %d", cap(*b))
	}
	*b = (*b)[:1]
	p.Put(b)
	if got := *p.Get(dataFrame); len(got) != dataFrame {
		t.Fatalf("%d bytes after a shorter use", len(got))
	}
}
