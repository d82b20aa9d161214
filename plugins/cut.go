package plugins

import (
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// CutOptions is what a source knows about its vendor when it cuts a gap.
type CutOptions struct {
	// RowCap is the vendor's cap of rows in one answer; zero: none. Slices aim at 70 % of it at most.
	RowCap uint64
	// Limit is the budget; a slice is worth at least a request's share of its bytes.
	Limit Limit
	// Granularity is the stream's: slices end at its multiples since the Unix epoch, or with the gap; zero: a millisecond.
	Granularity time.Duration
	// Most is the most slices to return; zero: 64. The host asks again for the rest, with fresh hints.
	Most int
}

const (
	autoBytes   = 256 << 20
	capShare    = 0.7
	defaultMost = 64
	day         = 24 * time.Hour
)

// CutGap is a Plan for any source whose vendor takes ranges of time: it cuts a gap into slices, beginning at its start and
// without hole or overlap, that should weigh what t asks for. It returns at most o.Most slices; the gap's rest is cut when
// it is asked for again.
//
// A duration is kept to; a slice that touches midnight is shorter, for none crosses a UTC day. Else slices aim at t.Bytes
// or, automatically, at the larger of 256 MiB and the budget's bytes a request. How long that is follows from the most
// recent hints; what a truncated read saw is the least that its range can hold. Without hints a slice is one UTC day.
// A gap that begins and ends at multiples of o.Granularity is cut into slices that do. It is pure.
func CutGap(g flow.Gap, t SliceTarget, o CutOptions) []flow.Slice {
	most := o.Most
	if most <= 0 {
		most = defaultMost
	}
	grain := max(o.Granularity, time.Millisecond)
	length := max(sliceLength(g, t, o).Truncate(grain), grain)
	var out []flow.Slice
	for from := g.From.UTC(); from.Before(g.To) && len(out) < most; {
		end := flow.Day(from).Add(day)
		if end.After(g.To) {
			end = g.To.UTC()
		}
		// The rest of the day in equal pieces: a last one of a few seconds would cost a request all the same.
		if rest := end.Sub(from); length < rest {
			if t.Duration > 0 {
				end = from.Add(length)
			} else {
				pieces := (rest + length - 1) / length
				end = from.Add(max((rest / pieces).Truncate(grain), grain))
			}
			// A gap that begins between two multiples has a first slice that ends early.
			if past := pastMultiple(end, grain); end.Add(-past).After(from) {
				end = end.Add(-past)
			}
		}
		out = append(out, flow.NewSlice(g.Partition, from, end, 0))
		from = end
	}
	return out
}

// pastMultiple returns how far a time is past a multiple of d since the Unix epoch.
func pastMultiple(t time.Time, d time.Duration) time.Duration {
	step := d.Milliseconds()
	return time.Duration((t.UnixMilli()%step+step)%step) * time.Millisecond
}

// sliceLength returns how long a slice should be, from one millisecond to one day.
func sliceLength(g flow.Gap, t SliceTarget, o CutOptions) time.Duration {
	if t.Duration > 0 {
		return min(max(t.Duration.Truncate(time.Millisecond), time.Millisecond), day)
	}
	want := t.Bytes
	if want == 0 {
		want = autoBytes
		if o.Limit.Requests > 0 {
			want = max(want, o.Limit.Bytes/o.Limit.Requests)
		}
	}
	d := densityOf(g.Hints)
	length := day
	if d.bytes > 0 {
		length = min(length, over(float64(want), d.bytes))
	}
	if o.RowCap > 0 && d.rows > 0 {
		length = min(length, over(capShare*float64(o.RowCap), d.rows))
	}
	return length
}

// over returns the time that amount takes at a rate a millisecond, within a millisecond and a day.
func over(amount, rate float64) time.Duration {
	ms := amount / rate
	if ms >= float64(day.Milliseconds()) {
		return day
	}
	return time.Duration(max(ms, 1)) * time.Millisecond
}

type density struct{ rows, bytes float64 } // a millisecond

// recentHints is how many hints count: older ones tell of other times of the day.
const recentHints = 4

// densityOf weighs the most recent hints by their duration. The range of a truncated one holds at least what was seen, so
// the densest truncated hint is a lower bound on what its surroundings hold.
func densityOf(hints []flow.Hint) density {
	var whole, bound density
	var ms float64
	for _, h := range hints[max(0, len(hints)-recentHints):] {
		span := float64(h.To.Sub(h.From).Milliseconds())
		if span <= 0 {
			continue
		}
		if h.Truncated {
			bound.rows = max(bound.rows, float64(h.Rows)/span)
			bound.bytes = max(bound.bytes, float64(h.Bytes)/span)
			continue
		}
		whole.rows += float64(h.Rows)
		whole.bytes += float64(h.Bytes)
		ms += span
	}
	if ms > 0 {
		whole.rows, whole.bytes = whole.rows/ms, whole.bytes/ms
	}
	return density{rows: max(whole.rows, bound.rows), bytes: max(whole.bytes, bound.bytes)}
}

// SplitTruncated cuts a slice whose read met the vendor's cap into parts that cover it exactly. times are those of the rows
// that were seen, as the vendor filters by them and in any order, at most as many as the read had; the vendor is taken to
// have answered in time order, so what was seen ends at the latest. With evidence that leads inside the slice it cuts there,
// at 70 % of what was seen a part; without, a whole UTC day into eight and a shorter slice into two. A slice of one
// millisecond has no parts: the read fails loudly. It is pure.
func SplitTruncated(s flow.Slice, times []time.Time) []flow.Slice {
	span := s.To.Sub(s.From).Milliseconds()
	if span <= 1 {
		return nil
	}
	pieces := 2
	if span == day.Milliseconds() {
		pieces = 8
	}
	if n := piecesByEvidence(s, times); n > 0 {
		pieces = n
	}
	var out []flow.Slice
	for _, r := range s.Range().Cut(pieces) {
		out = append(out, flow.NewSlice(s.Partition, r.From, r.To, s.Rev))
	}
	return out
}

// maxPieces bounds what one truncated read is cut into: evidence from a burst must not make thousands of requests.
const maxPieces = 256

// piecesByEvidence returns into how many parts of equal length a slice should be cut for each to hold at most 70 % of the
// rows seen, if the rest is as dense as what was seen; 0 without evidence.
func piecesByEvidence(s flow.Slice, times []time.Time) int {
	var latest time.Time
	for _, t := range times {
		if !t.Before(s.From) && t.Before(s.To) && t.After(latest) {
			latest = t
		}
	}
	if latest.IsZero() {
		return 0
	}
	seen := latest.Sub(s.From).Milliseconds() + 1
	span := s.To.Sub(s.From).Milliseconds()
	// span/seen answers like this one fit in; each part takes 70 % of one.
	pieces := (10*span + 7*seen - 1) / (7 * seen)
	return int(min(max(pieces, 2), maxPieces))
}
