package forecast

import (
	"math"
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

const (
	// profileReach is how far back from the newest slice a profile looks: what a log was like before says little of what it is like.
	profileReach = 35 * 24 * time.Hour
	// hourKnown is how much of an hour of the week must have been seen for it to speak for itself.
	hourKnown = 30 * time.Minute
	hours     = 7 * 24
	// together is how far days are wrong together: a log that grew is larger on each of them.
	together = 0.3
	// fewDays is how uncertain a profile of less than three days is at least.
	fewDays = 0.5
	// leastSigma is never gone below: the past isn't the future.
	leastSigma = 0.05
)

// cell sums what was seen of an hour of the week.
type cell struct{ seconds, rows, bytes float64 }

func (c cell) plus(o cell) cell {
	return cell{c.seconds + o.seconds, c.rows + o.rows, c.bytes + o.bytes}
}

// Profile is what an hour of the week of a log weighs, from slices that were read. The zero Profile knows nothing.
type Profile struct {
	week  [hours]cell
	days  map[time.Time]cell // by UTC day
	all   cell
	sigma float64 // of a day's bytes around its forecast
}

// NewProfile makes a profile of what slices weighed. Those that met the vendor's cap don't count: the rest of them wasn't seen.
func NewProfile(hints []flow.Hint) *Profile {
	p := &Profile{days: map[time.Time]cell{}}
	var newest time.Time
	for _, h := range hints {
		if h.To.After(newest) {
			newest = h.To
		}
	}
	for _, h := range hints {
		if h.Truncated || !h.From.Before(h.To) || newest.Sub(h.To) > profileReach {
			continue
		}
		whole := h.To.Sub(h.From).Seconds()
		eachHour(flow.Range{From: h.From, To: h.To}, func(at time.Time, seconds float64) {
			part := cell{seconds, float64(h.Rows) * seconds / whole, float64(h.Bytes) * seconds / whole}
			i := hourOfWeek(at)
			p.week[i] = p.week[i].plus(part)
			day := flow.Day(at)
			p.days[day] = p.days[day].plus(part)
			p.all = p.all.plus(part)
		})
	}
	p.sigma = p.deviation()
	return p
}

// Known reports whether anything was seen.
func (p *Profile) Known() bool { return p != nil && p.all.seconds > 0 }

// Days returns how many days' worth of log time was seen.
func (p *Profile) Days() float64 { return p.all.seconds / (24 * 3600) }

// Sigma returns the relative deviation of a day's bytes from what the profile says of it.
func (p *Profile) Sigma() float64 { return p.sigma }

// deviation holds the days that were seen almost whole against their own forecast.
func (p *Profile) deviation() float64 {
	const almostWhole = 20 * 3600
	var sum float64
	n := 0
	for day, c := range p.days {
		if c.seconds < almostWhole {
			continue
		}
		_, bytes := p.of(flow.Range{From: day, To: day.Add(24 * time.Hour)})
		bytes *= c.seconds / (24 * 3600)
		if bytes <= 0 {
			continue
		}
		n++
		off := c.bytes/bytes - 1
		sum += off * off
	}
	if n < 3 {
		return fewDays
	}
	// What is held against itself looks better than it is, the more so the fewer there are of each day of the week.
	return max(leastSigma, math.Sqrt(sum/float64(n))*(1+7/float64(n)))
}

// of returns what the profile expects of a range.
func (p *Profile) of(r flow.Range) (rows, bytes float64) {
	if !p.Known() {
		return 0, 0
	}
	eachHour(r, func(at time.Time, seconds float64) {
		c := p.at(at)
		rows += c.rows / c.seconds * seconds
		bytes += c.bytes / c.seconds * seconds
	})
	return rows, bytes
}

// at is the best that is known of an hour: the hour of the week, the hour of any day, or anything.
func (p *Profile) at(t time.Time) cell {
	i := hourOfWeek(t)
	if c := p.week[i]; c.seconds >= hourKnown.Seconds() {
		return c
	}
	var hour cell
	for d := i % 24; d < hours; d += 24 {
		hour = hour.plus(p.week[d])
	}
	if hour.seconds >= hourKnown.Seconds() {
		return hour
	}
	return p.all
}

// share is the part of a day's bytes that a range in it has, by the profile; by time if nothing is known.
func (p *Profile) share(r, day flow.Range) float64 {
	if p.Known() {
		_, part := p.of(r)
		if _, whole := p.of(day); whole > 0 {
			return part / whole
		}
	}
	return r.Duration().Seconds() / day.Duration().Seconds()
}

func hourOfWeek(t time.Time) int { return int(t.Weekday())*24 + t.Hour() }

// eachHour calls f for the parts of a range that lie in one UTC hour.
func eachHour(r flow.Range, f func(at time.Time, seconds float64)) {
	for at := r.From.UTC(); at.Before(r.To); {
		next := at.Truncate(time.Hour).Add(time.Hour)
		if next.After(r.To) {
			next = r.To
		}
		f(at, next.Sub(at).Seconds())
		at = next
	}
}

// sigmaOf is how uncertain a sum over some days is whose each has sigma.
func sigmaOf(sigma float64, days int) float64 {
	return sigma * math.Sqrt(together+(1-together)/float64(max(days, 1)))
}

// median of some figures, 0 without any.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
