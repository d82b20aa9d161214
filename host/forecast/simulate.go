package forecast

import (
	"container/heap"
	"math"
	"time"
)

// Load is what one slice asks of the vendor.
type Load struct {
	Requests float64 // at least 1
	Received float64 // bytes as the budget counts them
	Bytes    float64 // of its records
	Weight   float64 // what it counts for in the lane's course, such as its log time
}

// Lane is one pipeline: slices in the order in which they start, so many at a time.
type Lane struct {
	Loads    []Load
	Parallel int
	Rate     float64       // bytes of records a second, of one slice; 0: they take no time
	Open     time.Duration // until a slice's first byte
	Budget   int           // index; negative: none
}

// Charge is what counts against a budget still when the run begins.
type Charge struct {
	Requests, Bytes float64
	Until           time.Duration
}

// Budget is what a vendor allows, its share taken off. Zero Requests or Bytes aren't limited.
type Budget struct {
	Requests, Bytes float64
	Window          time.Duration
	Charges         []Charge
}

// Use is what was asked in one window, counted from the begin on.
type Use struct {
	From            time.Duration
	Requests, Bytes float64
}

// LaneResult is how a lane went.
type LaneResult struct {
	Took     time.Duration
	Waited   time.Duration // for the budget, by all its slices together
	Requests float64
	Course   []Point // as slices end
}

// Point says how much of a lane's weight is done by a time.
type Point struct {
	At   time.Duration
	Done float64 // in (0, 1]
}

// BudgetResult is how a budget was used by the lanes; the charges of before count in the peaks alone.
type BudgetResult struct {
	PeakRequests, PeakBytes float64 // in any window
	Windows                 []Use   // one after the other, those without use left out
}

// Result is how a simulation went.
type Result struct {
	Took    time.Duration // of the lane that took longest
	Lanes   []LaneResult
	Budgets []BudgetResult
}

// Simulate runs lanes through budgets that they may share.
func Simulate(lanes []Lane, budgets []Budget) Result {
	s := simulation{lanes: lanes, result: Result{Lanes: make([]LaneResult, len(lanes)), Budgets: make([]BudgetResult, len(budgets))}}
	for _, b := range budgets {
		s.budgets = append(s.budgets, newCounter(b))
	}
	s.next, s.owed = make([]int, len(lanes)), make([]float64, len(lanes))
	for i, l := range lanes {
		for range min(l.Parallel, len(l.Loads)) {
			s.push(&worker{lane: i})
		}
	}
	for len(s.queue) > 0 {
		w := heap.Pop(&s.queue).(*worker)
		if s.step(w) {
			s.push(w)
		}
	}
	for i, b := range s.budgets {
		s.result.Budgets[i] = b.result
	}
	for i := range s.result.Lanes {
		s.result.Took = max(s.result.Took, s.result.Lanes[i].Took)
		sum, all := 0.0, 0.0
		for _, load := range lanes[i].Loads {
			all += load.Weight
		}
		for n := range s.result.Lanes[i].Course { // in the order of time, as slices ended
			p := &s.result.Lanes[i].Course[n]
			sum += p.Done
			p.Done = sum / all
		}
	}
	return s.result
}

type simulation struct {
	lanes   []Lane
	budgets []*counter
	next    []int     // by lane: the slice that starts next
	owed    []float64 // by lane: parts of requests that are left over
	queue   events
	pushed  int
	result  Result
}

// worker carries one slice after the other.
type worker struct {
	lane  int
	at    time.Duration
	order int
	asks  int     // requests left of its slice
	bytes float64 // that each receives
	rest  float64 // of the current request, still to be granted
	each  time.Duration
	load  float64 // its slice's weight; 0: none is under way
}

func (s *simulation) push(w *worker) {
	s.pushed++
	w.order = s.pushed
	heap.Push(&s.queue, w)
}

// step moves a worker on by one request, or by a wait for the budget. It returns false when nothing is left for it.
func (s *simulation) step(w *worker) bool {
	lane, out := &s.lanes[w.lane], &s.result.Lanes[w.lane]
	if w.asks == 0 && w.rest == 0 {
		out.Took = max(out.Took, w.at)
		if w.load > 0 {
			out.Course = append(out.Course, Point{w.at, w.load})
			w.load = 0
		}
		if s.next[w.lane] == len(lane.Loads) {
			return false
		}
		load := lane.Loads[s.next[w.lane]]
		s.next[w.lane]++
		s.owed[w.lane] += max(load.Requests, 1)
		w.asks = int(s.owed[w.lane] + 1e-9)
		s.owed[w.lane] -= float64(w.asks)
		took := lane.Open
		if lane.Rate > 0 {
			took += time.Duration(load.Bytes / lane.Rate * float64(time.Second))
		}
		w.load = load.Weight
		w.bytes, w.each = load.Received/float64(w.asks), took/time.Duration(w.asks)
	}
	isNew := w.rest == 0
	bytes, requests := w.rest, 0.0
	if isNew {
		bytes, requests = w.bytes, 1
	}
	if lane.Budget >= 0 {
		b := s.budgets[lane.Budget]
		part := bytes
		if b.Bytes > 0 {
			part = math.Min(part, b.Bytes) // an answer larger than a window's bytes takes several
		}
		if wait := b.take(w.at, requests, part, w.each); wait > 0 {
			out.Waited += wait
			w.at += wait
			return true
		}
		w.rest = bytes - part
		if w.rest < 1 {
			w.rest = 0
		}
	}
	if isNew {
		out.Requests++
		w.asks--
	}
	if w.rest == 0 {
		w.at += w.each
	}
	return true
}

// counter counts the use of a budget.
type counter struct {
	Budget
	requests, bytes float64
	until           charges
	result          BudgetResult
}

func newCounter(b Budget) *counter {
	c := &counter{Budget: b}
	for _, x := range b.Charges {
		c.add(x)
	}
	return c
}

func (c *counter) add(x Charge) {
	c.requests += x.Requests
	c.bytes += x.Bytes
	heap.Push(&c.until, x)
}

// take counts a request and bytes that an answer of some length receives, or returns how long to wait.
func (c *counter) take(at time.Duration, requests, bytes float64, answer time.Duration) (wait time.Duration) {
	if c.Window <= 0 {
		return 0
	}
	for len(c.until) > 0 && c.until[0].Until <= at {
		x := heap.Pop(&c.until).(Charge)
		c.requests -= x.Requests
		c.bytes -= x.Bytes
	}
	tooMany := c.Requests > 0 && c.requests+requests > c.Requests+1e-6
	tooMuch := c.Bytes > 0 && bytes > 0 && c.bytes+bytes > c.Bytes+1
	if (tooMany || tooMuch) && len(c.until) > 0 {
		return c.until[0].Until - at
	}
	c.add(Charge{requests, bytes, at + answer + c.Window})
	c.result.PeakRequests = max(c.result.PeakRequests, c.requests)
	c.result.PeakBytes = max(c.result.PeakBytes, c.bytes)
	from := at.Truncate(c.Window)
	if n := len(c.result.Windows); n == 0 || c.result.Windows[n-1].From != from {
		c.result.Windows = append(c.result.Windows, Use{From: from})
	}
	last := &c.result.Windows[len(c.result.Windows)-1]
	last.Requests += requests
	last.Bytes += bytes
	return 0
}

type charges []Charge

func (c charges) Len() int           { return len(c) }
func (c charges) Less(i, j int) bool { return c[i].Until < c[j].Until }
func (c charges) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *charges) Push(x any)        { *c = append(*c, x.(Charge)) }
func (c *charges) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

type events []*worker

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(*worker)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
