package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Span is what can be compared with the vendor as one: committed slices and every revision that adds to them. Most spans are one slice.
type Span struct {
	Receipts []sinks.Receipt // by begin and revision
}

// Spans groups the receipts of one partition: revisions tie together the slices that they meet.
func Spans(receipts []sinks.Receipt) []Span {
	all := slices.Clone(receipts)
	slices.SortFunc(all, func(a, b sinks.Receipt) int {
		if c := a.Slice.From.Compare(b.Slice.From); c != 0 {
			return c
		}
		return int(a.Slice.Rev) - int(b.Slice.Rev)
	})
	var out []Span
	var end time.Time // of the last span
	for _, r := range all {
		if n := len(out); n > 0 && r.Slice.From.Before(end) {
			out[n-1].Receipts = append(out[n-1].Receipts, r)
		} else {
			out = append(out, Span{Receipts: []sinks.Receipt{r}})
		}
		if r.Slice.To.After(end) {
			end = r.Slice.To
		}
	}
	return out
}

// Slices returns the slices of revision 0: what the vendor is asked for.
func (s Span) Slices() (out []flow.Slice) {
	for _, r := range s.Receipts {
		if r.Slice.Rev == 0 {
			out = append(out, r.Slice)
		}
	}
	return out
}

// Range returns from where to where the span is.
func (s Span) Range() flow.Range {
	var r flow.Range
	for _, one := range s.Receipts {
		if r.Empty() || one.Slice.To.After(r.To) {
			r.To = one.Slice.To
		}
		if r.From.IsZero() {
			r.From = one.Slice.From
		}
	}
	return r
}

// Holds returns what the sink was given of the span, dead letters included.
func (s Span) Holds() (sum flow.Sum) {
	for _, r := range s.Receipts {
		sum = sum.Plus(r.Delivered).Plus(r.Dead)
	}
	return sum
}

// How what the vendor has now compares with what a sink holds.
const (
	Same   = "same"
	More   = "more"
	Fewer  = "fewer"
	Others = "others" // as many, but others
)

// maxResent bounds how many revisions are tried for dead letters that were sent again.
const maxResent = 12

// Compare says how what the vendor has now compares with the span, and how many records more or fewer it is.
//
// Dead letters that were sent again are in a later revision and in the dead letters of the first: what no receipt tells apart from
// records that the vendor indexed late. So each choice of revisions is tried.
func (s Span) Compare(vendor flow.Sum) (how string, rows uint64) {
	holds := s.Holds()
	if holds == vendor {
		return Same, 0
	}
	var dead uint64
	var later []flow.Sum
	for _, r := range s.Receipts {
		dead += r.Dead.Rows
		if r.Slice.Rev > 0 && len(later) < maxResent {
			later = append(later, r.Delivered.Plus(r.Dead))
		}
	}
	resent := flow.Sum{} // of the choice with the most, so that what is left over isn't taken for late
	for choice := range 1 << len(later) {
		var sum flow.Sum
		for i, l := range later {
			if choice>>i&1 == 1 {
				sum = sum.Plus(l)
			}
		}
		if sum.Rows > dead {
			continue
		}
		if holds.Minus(sum) == vendor {
			return Same, 0
		}
		if sum.Rows > resent.Rows {
			resent = sum
		}
	}
	switch have := holds.Rows - resent.Rows; {
	case vendor.Rows > have:
		return More, vendor.Rows - have
	case vendor.Rows < have:
		return Fewer, have - vendor.Rows
	}
	return Others, 0
}

// Drift says in one sentence what Compare found; hint is what to do.
func Drift(how string, rows uint64) (what, hint string) {
	noun := "rows"
	if rows == 1 {
		noun = "row"
	}
	switch how {
	case More:
		return fmt.Sprintf("the vendor now has %d %s more (late records: recheck)", rows, noun),
			"the key `recheck` of the pipeline reads such ranges again and commits what is new"
	case Fewer:
		return fmt.Sprintf("the vendor now has %d %s fewer", rows, noun),
			"did its retention take them, or was the log changed? what the sink holds may be all there is"
	case Others:
		return "the vendor has the same count but different bytes",
			"did the vendor rewrite records, or is to_bound the wrong one? compare a few with sluice preview"
	}
	return "", ""
}

// Standing returns the receipts of all that a sink with Memory holds of a partition and that no later entry withdraws, of the slices
// that meet r; of all for an empty r.
func Standing(ctx context.Context, k sinks.Memory, p flow.Partition, r flow.Range) (out []sinks.Receipt, err error) {
	err = standing(ctx, k, p, r, func(one sinks.Receipt) error {
		out = append(out, one)
		return nil
	})
	return out, err
}
