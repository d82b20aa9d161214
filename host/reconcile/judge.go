package reconcile

import (
	"math"
	"slices"
)

const (
	// MinDays is how many full days a ratio is calibrated by at least: with fewer one bad day could be what the others are held against.
	MinDays = 3
	// leastTolerance is how far a day may be off its log's ratio whatever the other days are like; mostTolerance, however far they are apart.
	leastTolerance, mostTolerance = 0.02, 0.25
	// spread is how many times the days' median distance from the ratio a day may be off: far beyond what days of one kind are.
	spread = 6
	// slack is how many bytes say nothing.
	slack = 1 << 10
)

// Verdict is what a day's figure says of it.
type Verdict string

// The verdicts. Short, Over and Empty are flagged.
const (
	Agrees     Verdict = "agrees"
	Short      Verdict = "short"       // less was delivered than the figure lets expect
	Over       Verdict = "over"        // more
	Empty      Verdict = "empty"       // covered, nothing was delivered, and the vendor says that there was something
	Trifle     Verdict = "trifle"      // as Empty, but of so few bytes that they say nothing
	Partial    Verdict = "partial"     // not wholly covered: not judged
	Unsettled  Verdict = "unsettled"   // the figure was taken while it could still grow: not judged
	NoFigure   Verdict = "no_figure"   // the vendor told none
	Unratioed  Verdict = "no_ratio"    // too few full days to know the log's ratio by: not judged
	Untellable Verdict = "not_told_of" // the vendor was asked in another unit than the ratio is of
)

// Flagged reports whether a day needs to be looked at.
func (v Verdict) Flagged() bool { return v == Short || v == Over || v == Empty }

// Judged is a day with what became of it.
type Judged struct {
	Day
	Verdict  Verdict
	Ratio    float64 // the figure by what was delivered; 0: there is none
	Expected int64   // what should have been delivered by the figure, in the result's unit; -1: not known
}

// Unit is what the days are held against.
type Unit string

// The units.
const (
	Bytes Unit = "bytes" // usage figures
	Rows  Unit = "rows"  // counts
)

// Of returns a day's figure, -1 if it isn't told, and what was delivered.
func (u Unit) Of(j Judged) (figure, delivered int64) {
	if u == Rows {
		return j.Figure.Rows, j.Rows
	}
	return j.Figure.Bytes, j.Bytes
}

// Result is a log, judged.
type Result struct {
	Unit      Unit
	Ratio     float64 // of the vendor's figure by what was delivered, the median of the full days; 0: not calibrated
	Overhead  int64   // bytes that the vendor seems to count for each record beside its own
	Days      int     // full days that it is calibrated by
	Tolerance float64 // how far a day may be off, as a share
	Judged    []Judged

	scale float64 // of the figure by what was delivered with the overhead
}

// Flagged returns the days that need to be looked at.
func (r Result) Flagged() []Judged { return r.with(func(j Judged) bool { return j.Verdict.Flagged() }) }

// Count returns how many days have one of some verdicts.
func (r Result) Count(of ...Verdict) int {
	return len(r.with(func(j Judged) bool { return slices.Contains(of, j.Verdict) }))
}

func (r Result) with(keep func(Judged) bool) []Judged {
	var out []Judged
	for _, j := range r.Judged {
		if keep(j) {
			out = append(out, j)
		}
	}
	return out
}

// Judge holds the days of a log against their figures. Where the vendor counts records, days are held against the counts, which need no
// ratio; else against its bytes.
func Judge(days []Day) Result {
	r := Result{Unit: Bytes}
	if slices.ContainsFunc(days, func(d Day) bool { return d.Figure.Rows >= 0 }) {
		r.Unit, r.Ratio, r.scale = Rows, 1, 1
	} else {
		r.calibrate(days)
	}
	for _, d := range days {
		r.Judged = append(r.Judged, r.judge(d))
	}
	return r
}

// calibrate finds what the vendor counts for a byte and for a record. The ratio is the median of the days', and their median distance from
// it the measure of how far days are apart: neither is moved by less than half of the days.
//
// A vendor that counts something for each record beside its bytes makes a day of short records weigh more than one of long ones. So the
// overhead is taken with which the days agree best, none unless it makes them agree better. A loss can't hide in it: it takes bytes and
// records alike.
func (r *Result) calibrate(days []Day) {
	var full []Day
	for _, d := range days {
		if d.Covered && settled(d) && d.Bytes > 0 && d.Figure.Bytes > slack {
			full = append(full, d)
		}
	}
	if r.Days = len(full); r.Days < MinDays {
		return
	}
	r.Ratio, _ = fit(full, 0)
	scale, off := fit(full, 0)
	best := trimmed(off)*(1-worthIt) - leastWorth
	for _, overhead := range overheads {
		if s, o := fit(full, overhead); trimmed(o) < best {
			r.Overhead, scale, off, best = overhead, s, o, trimmed(o)
		}
	}
	r.scale = scale
	r.Tolerance = min(max(leastTolerance, spread*median(off)), mostTolerance)
}

// overheads are the bytes for each record that are tried: every one where they are likely, fewer where they are less so.
var overheads = func() (all []int64) {
	for n := int64(1); n <= 1024; n += max(1, n/64) {
		all = append(all, n)
	}
	return all
}()

// worthIt and leastWorth are how much closer days must come before an overhead is believed in: by a share of how far they are off without
// one, and by more than nothing.
const worthIt, leastWorth = 0.3, 0.0002

// fit returns by what the days' weights must be multiplied to be their figures, by the median, and how far each day is off then.
func fit(days []Day, overhead int64) (scale float64, off []float64) {
	ratios := make([]float64, len(days))
	for i, d := range days {
		ratios[i] = float64(d.Figure.Bytes) / d.weight(overhead)
	}
	scale = median(ratios)
	for i := range ratios {
		ratios[i] = math.Abs(ratios[i]/scale - 1)
	}
	return scale, ratios
}

// weight is what a day is by the vendor's way of counting, but for a factor.
func (d *Day) weight(overhead int64) float64 {
	return float64(d.Bytes) + float64(overhead)*float64(d.Rows)
}

// trimmed is the mean of the smaller half and one more, which days that are spoilt can't move.
func trimmed(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	s = s[:min(len(s)/2+1, len(s))]
	sum := 0.0
	for _, x := range s {
		sum += x
	}
	return sum / float64(len(s))
}

func median(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// settled reports whether a day's figure was taken when it no longer grew.
func settled(d Day) bool { return !d.Figure.At.Before(d.Day.AddDate(0, 0, 1).Add(Settles)) }

func (r *Result) judge(d Day) Judged {
	j := Judged{Day: d, Expected: -1}
	figure, had := d.Figure.Bytes, d.Bytes
	few := int64(slack)
	if r.Unit == Rows {
		figure, had, few = d.Figure.Rows, d.Rows, 0
	}
	if figure >= 0 && had > 0 {
		j.Ratio = float64(figure) / float64(had)
	}
	switch {
	case !d.Figure.Told():
		j.Verdict = NoFigure
	case figure < 0:
		j.Verdict = Untellable
	case !d.Covered:
		j.Verdict = Partial
	case !settled(d):
		j.Verdict = Unsettled
	case had == 0 && figure > few:
		j.Verdict = Empty
		if r.Ratio > 0 {
			j.Expected = int64(math.Round(float64(figure) / r.Ratio))
		}
	case had == 0 && figure > 0:
		j.Verdict = Trifle
	case had == 0:
		j.Verdict, j.Expected = Agrees, 0
	case r.Ratio == 0:
		j.Verdict = Unratioed
	default:
		should := float64(had)
		if r.Unit == Bytes {
			should = r.scale * d.weight(r.Overhead)
		}
		j.Expected = int64(math.Round(float64(had) * float64(figure) / should))
		off, allowed := had-j.Expected, max(float64(few), r.Tolerance*float64(j.Expected))
		switch {
		case float64(off) > allowed:
			j.Verdict = Over
		case float64(-off) > allowed:
			j.Verdict = Short
		default:
			j.Verdict = Agrees
		}
	}
	return j
}
