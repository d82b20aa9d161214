package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
)

var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func hint(from time.Time, d time.Duration, rows, bytes uint64) flow.Hint {
	return flow.Hint{From: from, To: from.Add(d), Rows: rows, Bytes: bytes}
}

func rangeOf(from time.Time, d time.Duration) flow.Range {
	return flow.Range{From: from, To: from.Add(d)}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// TestProfile: an hour of the week that was seen speaks for itself, else the hour of the day, else anything.
func TestProfile(t *testing.T) {
	p := NewProfile([]flow.Hint{
		hint(monday.Add(9*time.Hour), time.Hour, 10, 3600_000),
		hint(monday.AddDate(0, 0, 1).Add(9*time.Hour), time.Hour, 10, 7200_000),
		hint(monday.AddDate(0, 0, 1).Add(20*time.Hour), 2*time.Hour, 10, 0),
		{From: monday.Add(12 * time.Hour), To: monday.Add(13 * time.Hour), Bytes: 1 << 40, Truncated: true},
		hint(monday.AddDate(0, -3, 0), time.Hour, 1, 1<<40), // too long ago
	})
	weekLater := monday.AddDate(0, 0, 7)
	for _, tt := range []struct {
		name string
		r    flow.Range
		want float64
	}{
		{"the same hour of the week", rangeOf(weekLater.Add(9*time.Hour), time.Hour), 3600_000},
		{"half of it", rangeOf(weekLater.Add(9*time.Hour+30*time.Minute), 30*time.Minute), 1800_000},
		{"the hour on another day", rangeOf(weekLater.AddDate(0, 0, 3).Add(9*time.Hour), time.Hour), 5400_000},
		{"another hour", rangeOf(weekLater.Add(3*time.Hour), time.Hour), 10_800_000 / 4},
		{"two of them", rangeOf(weekLater.Add(8*time.Hour+30*time.Minute), time.Hour), 10_800_000/4/2 + 1800_000},
	} {
		_, got := p.of(tt.r)
		near(t, tt.name, got, tt.want)
	}
	if p.Sigma() != fewDays || !p.Known() || p.Days() != 4.0/24 {
		t.Errorf("sigma %v, known %t, days %v", p.Sigma(), p.Known(), p.Days())
	}
	var none *Profile
	if none.Known() || NewProfile(nil).Known() {
		t.Error("nothing is known")
	}
}

// TestRangeHolds: of days that are drawn like those of the past, about 8 of 10 lie in the range.
func TestRangeHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	day := func(n int) (flow.Range, float64) {
		d := monday.AddDate(0, 0, n)
		level := 1e9
		if w := d.Weekday(); w == time.Saturday || w == time.Sunday {
			level = 2e8
		}
		return rangeOf(d, 24*time.Hour), level * (1 + 0.3*rng.NormFloat64())
	}
	in, all := 0, 0
	for range 60 {
		var hints []flow.Hint
		for n := range 28 {
			r, bytes := day(n)
			hints = append(hints, flow.Hint{From: r.From, To: r.To, Rows: 1, Bytes: uint64(max(0, bytes))})
		}
		w := Weights{Profile: NewProfile(hints), Usage: &Usage{}}
		for n := 28; n < 35; n++ {
			r, actual := day(n)
			_, mid, basis := w.Of(r)
			e := w.Range(mid, basis, 1)
			if all++; e.Low <= actual && actual <= e.High {
				in++
			}
			if basis != FromHistory || e.Low > e.Mid || e.Mid > e.High {
				t.Fatalf("%v by %s", e, basis)
			}
		}
	}
	if share := float64(in) / float64(all); share < 0.7 || share > 0.95 {
		t.Logf("share %v", share)
		t.Errorf("%.0f %% of days lie in the range", 100*share)
	}
}

// TestUsage: what the vendor says of a day, by the ratio of days that were read, goes before the profile, split by it.
func TestUsage(t *testing.T) {
	var hints []flow.Hint
	var measures []flow.Measure
	for n := range 5 {
		d := monday.AddDate(0, 0, n)
		hints = append(hints, hint(d, 12*time.Hour, 75, 750), hint(d.Add(12*time.Hour), 12*time.Hour, 25, 250))
		measures = append(measures, flow.Measure{Range: rangeOf(d, 24*time.Hour), Rows: -1, Bytes: 2000}) // it counts twice as much
	}
	next := monday.AddDate(0, 0, 7)
	measures = append(measures,
		flow.Measure{Range: rangeOf(next, 24*time.Hour), Rows: -1, Bytes: 9000},
		flow.Measure{Range: rangeOf(next.AddDate(0, 0, 1), 24*time.Hour), Rows: 50, Bytes: -1},
		flow.Measure{Range: rangeOf(next.AddDate(0, 0, 2), 24*time.Hour), Rows: -1, Bytes: -1}, // asked, and not told
		flow.Measure{Range: rangeOf(next.AddDate(0, 0, 3), time.Hour), Rows: 1 << 40, Bytes: 1 << 40})
	p := NewProfile(hints)
	w := Weights{Profile: p, Usage: NewUsage(measures, p)}
	for _, tt := range []struct {
		name        string
		r           flow.Range
		rows, bytes float64
		basis       Basis
	}{
		{"a day", rangeOf(next, 24*time.Hour), 450, 4500, FromUsage},
		{"its first half, which holds three quarters", rangeOf(next, 12*time.Hour), 337.5, 3375, FromUsage},
		{"rows alone", rangeOf(next.AddDate(0, 0, 1), 24*time.Hour), 50, 500, FromUsage},
		{"not told", rangeOf(next.AddDate(0, 0, 2), 24*time.Hour), 100, 1000, FromHistory},
		{"not of a day", rangeOf(next.AddDate(0, 0, 3), 24*time.Hour), 100, 1000, FromHistory},
	} {
		rows, bytes, basis := w.Of(tt.r)
		near(t, tt.name+": rows", rows, tt.rows)
		near(t, tt.name+": bytes", bytes, tt.bytes)
		if basis != tt.basis {
			t.Errorf("%s: by %s, want %s", tt.name, basis, tt.basis)
		}
	}
	if told, held := w.UsageDays(); told != 7 || held != 5 {
		t.Errorf("told of %d days, held %d", told, held)
	}
	fresh := Weights{Profile: NewProfile(nil), Usage: NewUsage(measures, NewProfile(nil))}
	if _, bytes, basis := fresh.Of(rangeOf(next, 6*time.Hour)); bytes != 2250 || basis != FromUsage {
		t.Errorf("without history: %v by %s", bytes, basis)
	}
	if _, _, basis := fresh.Of(rangeOf(next.AddDate(0, 0, 1), time.Hour)); basis != Assumed {
		t.Errorf("rows alone without history: by %s", basis)
	}
	fresh.Others = 2
	if _, bytes, basis := fresh.Of(rangeOf(next.AddDate(0, 1, 0), time.Hour)); bytes != 7200 || basis != FromOthers {
		t.Errorf("by others: %v by %s", bytes, basis)
	}
}

// TestCountsAloneWeighNothing: a vendor that tells how many records a day has, and no bytes, leaves what they weigh to assumptions.
func TestCountsAloneWeighNothing(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	m := flow.Measure{Range: flow.Range{From: day, To: day.AddDate(0, 0, 1)}, Rows: 500, Bytes: -1}
	none := NewProfile(nil)
	counted := Weights{Profile: none, Usage: NewUsage([]flow.Measure{m}, none)}
	if counted.Known() {
		t.Error("a count without bytes says what a log weighs")
	}
	m.Bytes = 1000
	if weighed := (Weights{Profile: none, Usage: NewUsage([]flow.Measure{m}, none)}); !weighed.Known() {
		t.Error("bytes of a day don't say what a log weighs")
	}
}

func TestPace(t *testing.T) {
	if p := PaceOf(nil); p.Runs != 0 || p.Rate.Mid != assumedRate || p.Requests(Exactly(1e9)) != Exactly(1) || p.Received != 1 {
		t.Errorf("without runs: %+v", p)
	}
	runs := []Run{
		{},
		{Slices: 10, Bytes: 1000, Requests: 20, Received: 500, Parallel: 2, Opened: 5, OpeningSeconds: 10, ReadingSeconds: 10, ReadingBytes: 1000},
		{Slices: 10, Bytes: 3000, Requests: 20, Received: 1500, Parallel: 4, Opened: 5, OpeningSeconds: 20, ReadingSeconds: 10, ReadingBytes: 3000},
	}
	p := PaceOf(runs)
	near(t, "extra", p.Extra.Mid, 20.0/4000)
	near(t, "received", p.Received, 0.5)
	near(t, "rate", p.Rate.Mid, 200)
	near(t, "open", p.Open.Mid, 3)
	if p.Runs != 2 || p.Parallel != 4 || p.Rate.Low > 100 || p.Rate.High < 300 || p.Extra.Low != 0 {
		t.Errorf("got %+v", p)
	}
	near(t, "requests of a slice", p.Requests(Exactly(1000)).Mid, 6)
}

func loads(n int, requests, bytes float64) []Load {
	return slices.Repeat([]Load{{Requests: requests, Received: bytes, Bytes: bytes, Weight: 1}}, n)
}

func TestSimulate(t *testing.T) {
	const m, s = time.Minute, time.Second
	for _, tt := range []struct {
		name   string
		lane   Lane
		budget Budget
		took   time.Duration
		peak   float64
		waited bool
	}{
		{"nothing", Lane{Parallel: 2}, Budget{Requests: 1, Window: m}, 0, 0, false},
		{"no limit", Lane{Loads: loads(10, 1, 100), Parallel: 2, Rate: 100, Open: s}, Budget{Window: m}, 10 * s, 10, false},
		{"all in one window", Lane{Loads: loads(10, 1, 100), Parallel: 1, Open: s}, Budget{Requests: 10, Window: m}, 10 * s, 10, false},
		// The first ten go at once, each counts until a window after its answer.
		{"a window later", Lane{Loads: loads(11, 1, 0), Parallel: 1}, Budget{Requests: 10, Window: m}, m, 10, true},
		{"three windows", Lane{Loads: loads(35, 1, 0), Parallel: 4}, Budget{Requests: 10, Window: m}, 3 * m, 10, true},
		{"answers take time", Lane{Loads: loads(3, 1, 100), Parallel: 1, Rate: 10}, Budget{Requests: 1, Window: m}, 2*(m+10*s) + 10*s, 1, true},
		{"pages", Lane{Loads: loads(4, 5, 0), Parallel: 1}, Budget{Requests: 10, Window: m}, m, 10, true},
		{"parts of requests add up", Lane{Loads: loads(10, 1.5, 0), Parallel: 1}, Budget{Requests: 15, Window: m}, 0, 15, false},
		{"bytes", Lane{Loads: loads(4, 1, 60), Parallel: 1}, Budget{Requests: 100, Bytes: 100, Window: m}, 3 * m, 1, true},
		{"an answer larger than a window's bytes", Lane{Loads: loads(1, 1, 250), Parallel: 1}, Budget{Bytes: 100, Window: m}, 2 * m, 1, true},
		{
			"what was used before",
			Lane{Loads: loads(2, 1, 0), Parallel: 1},
			Budget{Requests: 2, Window: m, Charges: []Charge{{1, 0, 20 * s}, {1, 0, 40 * s}}},
			40 * s, 2, true,
		},
		{"parallel", Lane{Loads: loads(10, 1, 100), Parallel: 5, Rate: 100}, Budget{Window: m}, 2 * s, 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Simulate([]Lane{tt.lane}, []Budget{tt.budget})
			if r.Took != tt.took || r.Budgets[0].PeakRequests != tt.peak || (r.Lanes[0].Waited > 0) != tt.waited {
				t.Errorf("took %s, peak %v, waited %s; want %s, %v", r.Took, r.Budgets[0].PeakRequests, r.Lanes[0].Waited, tt.took, tt.peak)
			}
			course := r.Lanes[0].Course
			if len(course) != len(tt.lane.Loads) || len(course) > 0 && math.Abs(course[len(course)-1].Done-1) > 1e-9 {
				t.Errorf("course %v", course)
			}
		})
	}
}

// TestSharedBudget: two lanes of one budget take as long as one with all of it.
func TestSharedBudget(t *testing.T) {
	b := Budget{Requests: 10, Window: time.Minute}
	lane := Lane{Loads: loads(20, 1, 0), Parallel: 2}
	r := Simulate([]Lane{lane, lane, {Loads: loads(5, 1, 0), Parallel: 1, Budget: -1}}, []Budget{b})
	if r.Took != 3*time.Minute || r.Budgets[0].PeakRequests != 10 || r.Lanes[2].Took != 0 {
		t.Errorf("took %s, %+v", r.Took, r.Budgets)
	}
	want := []Use{{0, 10, 0}, {time.Minute, 10, 0}, {2 * time.Minute, 10, 0}, {3 * time.Minute, 10, 0}}
	if diff := cmp.Diff(want, r.Budgets[0].Windows); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
}

// TestNeverBeyondTheBudget draws lanes and holds the grants against the rule: no window has more than it may.
func TestNeverBeyondTheBudget(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		b := Budget{Requests: float64(1 + rng.IntN(20)), Window: time.Duration(1+rng.IntN(100)) * time.Second}
		if rng.IntN(2) == 0 {
			b.Bytes = float64(100 + rng.IntN(1000))
		}
		var lanes []Lane
		asked := 0.0
		for range 1 + rng.IntN(3) {
			l := Lane{Parallel: 1 + rng.IntN(5), Rate: float64(rng.IntN(200)), Open: time.Duration(rng.IntN(3000)) * time.Millisecond}
			for range rng.IntN(60) {
				l.Loads = append(l.Loads, Load{Requests: 1 + 2*rng.Float64(), Received: float64(rng.IntN(300)), Bytes: float64(rng.IntN(300)), Weight: 1})
			}
			asked += float64(len(l.Loads))
			lanes = append(lanes, l)
		}
		r := Simulate(lanes, []Budget{b})
		done := 0.0
		for _, l := range r.Lanes {
			done += l.Requests
		}
		peak := r.Budgets[0]
		if done < asked || peak.PeakRequests > b.Requests || b.Bytes > 0 && peak.PeakBytes > b.Bytes+1 {
			t.Fatalf("%v requests of %v slices; at most %v and %v bytes of %+v", done, asked, peak.PeakRequests, peak.PeakBytes, b)
		}
	}
}
