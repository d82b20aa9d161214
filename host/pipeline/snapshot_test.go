package pipeline

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
)

// TestSnapshotBesideRun looks at a pipeline from before its run begins until after its end, which the race detector watches.
func TestSnapshotBesideRun(t *testing.T) {
	b := newBench(t, 7, 2)
	b.spoolMax = 1 << 20
	l, err := ledger.Open(t.Context(), filepath.Join(b.dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := b.config(l, span(-100, 100))
	defer b.openSpool(&cfg)()
	cfg.Foresee = func(context.Context, Forecast) {}
	p := New(cfg)
	var looks sync.WaitGroup
	ended := make(chan struct{})
	looked := make(chan struct{})
	looks.Go(func() {
		var last Moved
		for n := 0; ; n++ {
			st := p.Snapshot()
			if st.Name != cfg.Name || st.Moved.Rows < last.Rows && st.Moved.Slices < last.Slices {
				t.Errorf("it went back from %+v to %+v", last, st)
			}
			last = st.Moved
			if n == 0 {
				close(looked)
			}
			select {
			case <-ended:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	<-looked
	ctx, cancel := context.WithTimeout(t.Context(), endTime)
	defer cancel()
	sum, err := p.Run(ctx, nil, endTime)
	close(ended)
	looks.Wait()
	if err != nil || sum.Slices == 0 || sum.Pipeline != cfg.Name || sum.Started.IsZero() {
		t.Fatalf("%+v, %v", sum, err)
	}
	if st := p.Snapshot(); st.Moved.Rows != sum.Rows || st.Moved.Slices != sum.Slices {
		t.Errorf("the last look tells %+v, the summary %+v", st.Moved, sum)
	}
}
