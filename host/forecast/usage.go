package forecast

import (
	"math"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

const (
	// uncalibrated is how far the vendor's figures may be off what is read, before any day was held against them.
	uncalibrated = 0.15
	// calibratedDays is how many days a ratio needs.
	calibratedDays = 3
)

// Usage is what the vendor itself says of the days of a log. The zero Usage knows nothing.
type Usage struct {
	days  map[time.Time]flow.Measure
	ratio float64 // of bytes that are read to those that the vendor counts
	sigma float64
	held  int // days that the ratio rests on
	// weighs says that bytes of a day are known, and not only how many records it has.
	weighs bool
}

// NewUsage takes the vendor's figures, the latest of each range last, and holds the days that were read whole against them. Only figures
// of whole UTC days count.
func NewUsage(measures []flow.Measure, p *Profile) *Usage {
	u := &Usage{days: map[time.Time]flow.Measure{}, ratio: 1, sigma: uncalibrated}
	for _, m := range measures {
		if m.From.Equal(flow.Day(m.From)) && m.To.Sub(m.From) == 24*time.Hour && (m.Bytes >= 0 || m.Rows >= 0) {
			u.days[m.From.UTC()] = m
			u.weighs = u.weighs || m.Bytes >= 0
		}
	}
	var ratios []float64
	for day, m := range u.days {
		if c, ok := p.days[day]; ok && c.seconds > 24*3600-1 && m.Bytes > 0 && c.bytes > 0 {
			ratios = append(ratios, c.bytes/float64(m.Bytes))
		}
	}
	if u.held = len(ratios); u.held >= calibratedDays {
		u.ratio = median(ratios)
		sum := 0.0
		for _, r := range ratios {
			off := r/u.ratio - 1
			sum += off * off
		}
		u.sigma = max(leastSigma/2, math.Sqrt(sum/float64(len(ratios))))
	}
	return u
}

// Basis is what a figure rests on, best first.
type Basis string

// The bases of figures.
const (
	FromUsage   Basis = "usage"   // what the vendor says of the day
	FromHistory Basis = "history" // the log's own slices of earlier runs
	FromOthers  Basis = "others"  // what the pipeline's other logs weigh
	Assumed     Basis = "assumed" // nothing
)

// assumedDay is what a day of a log is taken to weigh of which nothing is known, and manyTimes how wrong that may be either way.
const (
	assumedDay = 100e6
	manyTimes  = 20
)

// Weights knows what is to be known of one log.
type Weights struct {
	Profile *Profile
	Usage   *Usage
	// Others is what a second of the pipeline's other logs weighs, in bytes; 0: not known.
	Others float64
}

// Known reports whether figures rest on more than assumptions.
func (w *Weights) Known() bool { return w.Profile.Known() || w.Usage.weighs }

// Of returns what is expected of a range within a UTC day. Rows are exact zeros where only bytes are known.
func (w *Weights) Of(r flow.Range) (rows, bytes float64, basis Basis) {
	day := flow.Range{From: flow.Day(r.From), To: flow.Day(r.From).Add(24 * time.Hour)}
	knownRows, knownBytes := w.Profile.of(r)
	if m, ok := w.Usage.days[day.From]; ok {
		share := w.Profile.share(r, day)
		perRow := 0.0
		if w.Profile.all.rows > 0 {
			perRow = w.Profile.all.bytes / w.Profile.all.rows
		}
		switch {
		case m.Bytes >= 0:
			bytes = float64(m.Bytes) * w.Usage.ratio * share
			if perRow > 0 {
				rows = bytes / perRow
			}
			if m.Rows >= 0 {
				rows = float64(m.Rows) * share
			}
			return rows, bytes, FromUsage
		case perRow > 0:
			rows = float64(m.Rows) * share
			return rows, rows * perRow, FromUsage
		}
	}
	switch seconds := r.Duration().Seconds(); {
	case w.Profile.Known():
		return knownRows, knownBytes, FromHistory
	case w.Others > 0:
		return 0, w.Others * seconds, FromOthers
	default:
		return 0, assumedDay * seconds / (24 * 3600), Assumed
	}
}

// Range puts the range around a sum of bytes that rests on some days.
func (w *Weights) Range(mid float64, basis Basis, days int) Estimate {
	switch basis {
	case FromUsage:
		return within(mid, sigmaOf(w.Usage.sigma, days))
	case FromHistory:
		return within(mid, sigmaOf(w.Profile.Sigma(), days))
	case FromOthers:
		return within(mid, 1.5)
	}
	return Estimate{mid / manyTimes, mid, mid * manyTimes}
}

// UsageDays returns on how many days the vendor has said something, and how many of them its figures were held against what was read.
func (w *Weights) UsageDays() (told, held int) { return len(w.Usage.days), w.Usage.held }
