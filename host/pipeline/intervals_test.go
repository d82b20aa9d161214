package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

func rangeOf(from, to int64) flow.Range { return flow.Range{From: ms(from), To: ms(to)} }

// TestIntervalsMatchABruteForceModel compares with a set of sinks kept for each millisecond.
func TestIntervalsMatchABruteForceModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const span = 60
	for range 2000 {
		gaps := make([]flow.Ranges, 1+rng.IntN(3))
		var want [span]sinkSet
		for i := range gaps {
			for range rng.IntN(5) {
				from := rng.Int64N(span)
				to := min(span, from+rng.Int64N(12))
				gaps[i] = gaps[i].Add(rangeOf(from, to))
				for x := from; x < to; x++ {
					want[x] |= setOf(i)
				}
			}
		}
		var got [span]sinkSet
		var last interval
		for n, iv := range intervals(gaps) {
			if iv.Empty() || n > 0 && iv.From.Before(last.To) {
				t.Fatalf("gaps %v: interval %v is empty or out of order", gaps, iv)
			}
			if n > 0 && iv.From.Equal(last.To) && iv.sinks == last.sinks {
				t.Fatalf("gaps %v: neighbours %v and %v weren't merged", gaps, last, iv)
			}
			for x := iv.From.UnixMilli(); x < iv.To.UnixMilli(); x++ {
				got[x] |= iv.sinks
			}
			last = iv
		}
		if got != want {
			t.Fatalf("gaps %v: got %v, want %v", gaps, got, want)
		}
	}
}
