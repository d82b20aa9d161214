package plugins

import (
	"bytes"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/arena"
)

func TestAllocatorUsesBlocksAgain(t *testing.T) {
	a := NewAllocator()
	b := a.Allocate(arena.MinBlock + 5)
	for i := range b {
		b[i] = 7
	}
	first := &b[0]
	a.Free(b)
	again := a.Unzeroed().Allocate(arena.MinBlock + 5)
	if &again[0] != first || again[0] != 7 {
		t.Error("an unzeroed block isn't the one that was freed, as it was")
	}
	a.Free(again)
	zeroed := a.Allocate(arena.MinBlock + 5)
	if &zeroed[0] != first || !bytes.Equal(zeroed, make([]byte, len(zeroed))) {
		t.Error("a block that is used again isn't zeroed")
	}
	grown := a.Reallocate(arena.MinBlock+100, zeroed)
	if &grown[0] != first || !bytes.Equal(grown, make([]byte, len(grown))) {
		t.Error("it grew elsewhere, or not zeroed")
	}
	grown[0] = 9
	moved := a.Reallocate(4*arena.MinBlock, grown)
	if len(moved) != 4*arena.MinBlock || moved[0] != 9 || !bytes.Equal(moved[1:], make([]byte, len(moved)-1)) {
		t.Error("what was there isn't at the new place")
	}
}

func TestAllocatorUnderBuffers(t *testing.T) {
	checked := memory.NewCheckedAllocator(NewAllocator())
	buf := memory.NewResizableBuffer(checked)
	for n := 1; n < 1<<20; n *= 3 {
		buf.Resize(n)
		buf.Bytes()[n-1] = 1
	}
	buf.Resize(10)
	buf.Release()
	checked.AssertSize(t, 0)
}
