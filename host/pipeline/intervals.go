package pipeline

import (
	"math/bits"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// sinkSet is a set of a pipeline's sinks by index; a pipeline has at most maxSinks.
type sinkSet uint64

const maxSinks = 64

func setOf(indexes ...int) sinkSet {
	var s sinkSet
	for _, i := range indexes {
		s |= 1 << i
	}
	return s
}

func (s sinkSet) count() int { return bits.OnesCount64(uint64(s)) }

// each returns the set's indexes in ascending order.
func (s sinkSet) each() []int {
	out := make([]int, 0, s.count())
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		out = append(out, bits.TrailingZeros64(rest))
	}
	return out
}

// interval is a range that the same set of sinks lacks: it is read once for all of them.
type interval struct {
	flow.Range
	sinks sinkSet
}

// intervals cuts time at the bounds of all sinks' gaps. gaps[i] is what sink i lacks. The result is in time order, its
// ranges don't meet, each has the exact set of sinks that lack it, and neighbours that touch have different sets.
func intervals(gaps []flow.Ranges) []interval {
	var bounds []time.Time
	for _, g := range gaps {
		for _, r := range g {
			bounds = append(bounds, r.From, r.To)
		}
	}
	slices.SortFunc(bounds, time.Time.Compare)
	bounds = slices.CompactFunc(bounds, time.Time.Equal)
	next := make([]int, len(gaps)) // the first range of each gap that may still meet
	var out []interval
	for k := 0; k+1 < len(bounds); k++ {
		piece := flow.Range{From: bounds[k], To: bounds[k+1]}
		var set sinkSet
		for i, g := range gaps {
			for next[i] < len(g) && !g[next[i]].To.After(piece.From) {
				next[i]++
			}
			if next[i] < len(g) && g[next[i]].Contains(piece) {
				set |= setOf(i)
			}
		}
		if set == 0 {
			continue
		}
		if n := len(out); n > 0 && out[n-1].sinks == set && out[n-1].To.Equal(piece.From) {
			out[n-1].To = piece.To
			continue
		}
		out = append(out, interval{piece, set})
	}
	return out
}
