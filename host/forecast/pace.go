package forecast

import "slices"

// Run is what an earlier run tells of how fast it went and how often it asked.
type Run struct {
	Slices   int     // committed
	Bytes    float64 // of their records
	Requests float64 // that the reads took, all together
	Received float64 // bytes as the budget counts them; 0: not known
	Parallel int     // slices at a time
	// Of the slices that were read from the vendor: how many opened without waiting for the budget, and how long that took; how long
	// they were read and committed, and how many bytes that was.
	Opened         int
	OpeningSeconds float64
	ReadingSeconds float64
	ReadingBytes   float64
}

// What is assumed of a source and sinks that never ran, for each slice at a time: bytes and seconds.
const (
	assumedRate = 10e6
	assumedOpen = 0.5
)

// fewRuns is below how many runs what they saw at least and at most says little.
const fewRuns = 3

// Pace is how a pipeline's slices go.
type Pace struct {
	Runs int // that it rests on; 0: assumed
	// Extra is how many requests a byte costs beyond a slice's one.
	Extra Estimate
	// Received is how many bytes the budget counts for a byte of records.
	Received float64
	// Rate is bytes a second of one slice; Open, the seconds until its first byte.
	Rate, Open Estimate
	// Parallel is how many slices at a time the rate was seen at; 0: not known.
	Parallel int
}

// PaceOf sums up runs, the most recent first. Runs that committed nothing tell nothing.
func PaceOf(runs []Run) Pace {
	const recent = 10
	p := Pace{Received: 1, Rate: Estimate{assumedRate / 5, assumedRate, 0}, Open: Estimate{0, assumedOpen, 6 * assumedOpen}}
	var requests, sliced, bytes, received, counted, opening, opened, reading, readBytes float64
	var extras, rates, opens []float64
	for _, r := range runs {
		if r.Slices == 0 || p.Runs == recent {
			continue
		}
		p.Runs++
		requests, sliced, bytes = requests+r.Requests, sliced+float64(r.Slices), bytes+r.Bytes
		if r.Bytes > 0 {
			extras = append(extras, max(0, r.Requests-float64(r.Slices))/r.Bytes)
		}
		if r.Received > 0 {
			received, counted = received+r.Received, counted+r.Bytes
		}
		if r.Opened > 0 {
			opening, opened = opening+r.OpeningSeconds, opened+float64(r.Opened)
			opens = append(opens, r.OpeningSeconds/float64(r.Opened))
		}
		if r.ReadingSeconds > 0 && r.ReadingBytes > 0 {
			reading, readBytes = reading+r.ReadingSeconds, readBytes+r.ReadingBytes
			rates = append(rates, r.ReadingBytes/r.ReadingSeconds)
			p.Parallel = max(p.Parallel, r.Parallel)
		}
	}
	if bytes > 0 {
		mid := max(0, requests-sliced) / bytes
		p.Extra = Estimate{min(mid, slices.Min(extras)), mid, max(1.2*mid, slices.Max(extras))}
		if len(extras) < fewRuns {
			p.Extra.Low, p.Extra.High = 0, 2*mid
		}
	}
	if counted > 0 {
		p.Received = received / counted
	}
	if readBytes > 0 {
		p.Rate = spread(rates, readBytes/reading)
	}
	if opened > 0 {
		p.Open = spread(opens, opening/opened)
	}
	return p
}

// spread puts what was seen at least and at most around a mean, and a little more where that isn't much.
func spread(all []float64, mid float64) Estimate {
	more := 1.25
	if len(all) < fewRuns {
		more = 2
	}
	return Estimate{min(slices.Min(all), mid/more), mid, max(slices.Max(all), mid*more)}
}

// Requests returns how many requests a slice of some bytes takes.
func (p Pace) Requests(bytes Estimate) Estimate {
	return Estimate{1 + p.Extra.Low*bytes.Low, 1 + p.Extra.Mid*bytes.Mid, 1 + p.Extra.High*bytes.High}
}
