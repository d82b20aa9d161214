package flow

import (
	"fmt"
	"slices"
	"time"
)

// Range is a half-open range of time [From, To).
type Range struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Empty reports whether the range holds no instant.
func (r Range) Empty() bool { return !r.From.Before(r.To) }

// Duration returns To minus From, zero for an empty range.
func (r Range) Duration() time.Duration { return max(0, r.To.Sub(r.From)) }

// Meets reports whether both ranges share an instant.
func (r Range) Meets(o Range) bool {
	return !r.Empty() && !o.Empty() && r.From.Before(o.To) && o.From.Before(r.To)
}

// Contains reports whether o lies wholly in r.
func (r Range) Contains(o Range) bool { return !o.From.Before(r.From) && !o.To.After(r.To) }

// Intersect returns the shared part, which may be Empty.
func (r Range) Intersect(o Range) Range {
	if o.From.After(r.From) {
		r.From = o.From
	}
	if o.To.Before(r.To) {
		r.To = o.To
	}
	return r
}

// Layout is how bounds of ranges are written: RFC 3339 in UTC with milliseconds.
const Layout = "2006-01-02T15:04:05.000Z"

// String returns "[from, to)" in UTC.
func (r Range) String() string {
	return fmt.Sprintf("[%s, %s)", r.From.UTC().Format(Layout), r.To.UTC().Format(Layout))
}

// Ranges is a set of instants as ranges that are sorted, not empty, and neither overlap nor touch. The zero value is the
// empty set. Methods return new sets and leave their operands alone.
type Ranges []Range

// NewRanges returns the union of ranges in any order.
func NewRanges(ranges ...Range) Ranges {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return a.From.Compare(b.From) })
	var out Ranges
	for _, r := range sorted {
		if r.Empty() {
			continue
		}
		if n := len(out); n > 0 && !r.From.After(out[n-1].To) {
			if r.To.After(out[n-1].To) {
				out[n-1].To = r.To
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// Add returns the union with one more range.
func (rs Ranges) Add(r Range) Ranges { return rs.Union(Ranges{r}) }

// Union returns what is in either set.
func (rs Ranges) Union(o Ranges) Ranges { return NewRanges(append(slices.Clone(rs), o...)...) }

// Minus returns what is in rs and not in o.
func (rs Ranges) Minus(o Ranges) Ranges {
	var out Ranges
	o = NewRanges(o...)
	j := 0
	for _, r := range rs {
		for j < len(o) && !o[j].To.After(r.From) {
			j++
		}
		for k := j; k < len(o) && o[k].From.Before(r.To); k++ {
			if r.From.Before(o[k].From) {
				out = append(out, Range{From: r.From, To: o[k].From})
			}
			if o[k].To.After(r.From) {
				r.From = o[k].To
			}
		}
		if !r.Empty() {
			out = append(out, r)
		}
	}
	return out
}

// Intersect returns what is in both sets.
func (rs Ranges) Intersect(o Ranges) Ranges {
	var out Ranges
	i, j := 0, 0
	for i < len(rs) && j < len(o) {
		if x := rs[i].Intersect(o[j]); !x.Empty() {
			out = append(out, x)
		}
		if rs[i].To.Before(o[j].To) {
			i++
		} else {
			j++
		}
	}
	return out
}

// Meets reports whether the set shares an instant with r.
func (rs Ranges) Meets(r Range) bool {
	return slices.ContainsFunc(rs, func(x Range) bool { return x.Meets(r) })
}

// Covers reports whether r lies wholly in the set.
func (rs Ranges) Covers(r Range) bool {
	return r.Empty() || slices.ContainsFunc(rs, func(x Range) bool { return x.Contains(r) })
}

// Duration returns the sum of the ranges' durations.
func (rs Ranges) Duration() time.Duration {
	var d time.Duration
	for _, r := range rs {
		d += r.Duration()
	}
	return d
}

// CutDays cuts a range at every UTC midnight, so that no piece crosses a day.
func (r Range) CutDays() []Range {
	var out []Range
	for !r.Empty() {
		end := Day(r.From).Add(24 * time.Hour)
		if end.After(r.To) {
			end = r.To
		}
		out = append(out, Range{From: r.From, To: end})
		r.From = end
	}
	return out
}

// Cut cuts a range into at most n pieces of about the same length, each of at least one whole millisecond, which cover it
// exactly.
func (r Range) Cut(n int) []Range {
	from, to := r.From.UnixMilli(), r.To.UnixMilli()
	span := to - from
	if span <= 0 {
		return nil
	}
	pieces := min(int64(max(n, 1)), span)
	out := make([]Range, 0, pieces)
	for i := range pieces {
		// Computed from the whole span: rounding doesn't add up, and the last piece ends at to.
		a, b := from+mulDiv(span, i, pieces), from+mulDiv(span, i+1, pieces)
		out = append(out, Range{From: time.UnixMilli(a).UTC(), To: time.UnixMilli(b).UTC()})
	}
	return out
}

func mulDiv(span, i, n int64) int64 { return span/n*i + span%n*i/n }
