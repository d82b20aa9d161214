package ipcfile

import (
	"testing"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

func TestNoRaceMemory(t *testing.T) {
	testsize.Alone(t)
	for _, c := range Compressions() {
		filetest.Holds(t, string(c), New(Options{Kind: File, Compression: c}))
	}
	filetest.Holds(t, "larger batches", New(Options{Kind: File, Compression: Zstd, Batch: 8 << 20}))
	if n := New(Options{Kind: File, Compression: Zstd}).Buffer(); n > 48<<20 {
		t.Errorf("by default %d MiB are held, want at most 48", n>>20)
	}
}
