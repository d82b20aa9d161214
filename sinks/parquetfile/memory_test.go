package parquetfile

import (
	"testing"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

func TestNoRaceMemory(t *testing.T) {
	testsize.Alone(t)
	for _, c := range Compressions() {
		filetest.Holds(t, string(c), New(Options{Compression: c, Timestamps: Micros, RowGroup: DefaultRowGroup}))
	}
	if n := New(Defaults()).Buffer(); n > 40<<20 {
		t.Errorf("by default %d MiB are held, want at most 40", n>>20)
	}
}
