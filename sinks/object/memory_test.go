package object

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestNoRaceMemory carries a slice of 768 MiB into one object and requires that no more is held than Buffer says.
func TestNoRaceMemory(t *testing.T) {
	testsize.Alone(t)
	const rounds, records, size = 192, 64, 64 << 10
	b := sinktest.NewBucket()
	b.Forgets = true
	c := config(t, map[string]any{"bucket": "lake", "format": "raw", "part_size": "2GiB"})
	k, err := open(context.Background(), c, onBucket(b))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s := sinktest.Hours("one", 0, 6)
	tx, err := k.Begin(context.Background(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make([]string, records)
	for i := range bodies {
		bodies[i] = strings.Repeat("x", size)
	}
	batch := sinktest.Batch(memory.DefaultAllocator, s, 0, bodies)
	defer batch.Records.Release()
	var sum flow.Sum
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := heap(), int64(0)
	for n := range rounds {
		if _, err := tx.Append(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		for _, body := range bodies {
			sum.Add([]byte(body))
		}
		if n%8 == 7 {
			most = max(most, heap()-before)
		}
	}
	if _, err := tx.Commit(context.Background(), sinks.Account{Read: sum, Delivered: sum}); err != nil {
		t.Fatal(err)
	}
	const slack = 2 << 20
	if most > k.Buffer()+slack || most < k.Buffer()/8 {
		t.Errorf("%d bytes were held, Buffer is %d", most, k.Buffer())
	}
	if want, err := Definition.Buffer(c); err != nil || want != k.Buffer() {
		t.Errorf("Definition.Buffer: %d, %v, want %d", want, err, k.Buffer())
	}
}
