package elsa

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestNoRaceMemoryIsBounded reads 200,000 records of 4 KiB, newest first, and looks at the heap all the while: it stays within what
// the stream says that a read holds, and something for the simulator, which lives in the same process.
func TestNoRaceMemoryIsBounded(t *testing.T) {
	testsize.Alone(t)
	const rows, size, most = int64(200_000), 4096, readBuffer + 32<<20
	sim, base := newSim(t, func(o *vendorsim.Options) {
		o.Elsa.Order = vendorsim.NewestFirst
		o.Elsa.Projects = []vendorsim.Project{{Key: vendorsim.SeedProject, ID: vendorsim.SeedProjectID, Generated: &vendorsim.GeneratedProject{
			From: firstDay, To: firstDay.AddDate(0, 0, 1), Rows: rows - 1, BodyBytes: size,
		}}}
	})
	s := at(newSource(t, simSettings(base)), sim)
	s.mem = plugins.NewAllocator()
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	out := newCollector(t)
	out.quiet = true
	last, sorted := int64(math.MinInt64), true
	out.onBatch = func(r arrow.Record) {
		for _, ns := range timestamps(r) {
			sorted = sorted && ns >= last
			last = ns
		}
	}
	err := s.Read(t.Context(), sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1)), out)
	out.release()
	close(stop)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if out.sum.Rows != uint64(rows-1) || out.sum.Bytes != uint64((rows-1)*size) || !sorted {
		t.Errorf("%d rows of %d bytes, sorted %v", out.sum.Rows, out.sum.Bytes, sorted)
	}
	t.Logf("heap of at most %d MiB for %d MiB of bodies", peak.Load()>>20, out.sum.Bytes>>20)
	if peak.Load() > uint64(most) {
		t.Errorf("the heap grew to %d MiB, more than %d", peak.Load()>>20, most>>20)
	}
}
