package pipeline

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// SliceStatus is what a slice in hand is doing.
type SliceStatus struct {
	Slice    flow.Slice
	Name     string // the partition's
	Sinks    []string
	Attempt  uint32
	State    string // "running", "waiting", "quarantined"
	WaitsFor string // "vendor", "budget until 14:15", "plugin", "sink lake", "backoff until 14:15"; empty while bytes move
	Rows     uint64
	Bytes    uint64
	Since    time.Time // when this try began
	LastByte time.Time // zero: none yet
	NextTry  time.Time // zero while it runs
	Error    string    // of the last try
}

// Status is what a running pipeline does now.
type Status struct {
	Name      string
	VendorNow time.Time
	Asked     flow.Range
	AskedTime time.Duration // log time, summed over partitions
	LeftTime  time.Duration // of it, what some sink lacks
	Follow    time.Duration // how often new time is asked for; 0: the run ends when all is covered
	Next      time.Time     // with Follow: of the next tick
	TickError string        // with Follow: of the last tick
	Behind    time.Duration // how far the earliest gap begins before what may be asked for now
	Moved     Moved
	Slices    []SliceStatus
	Sinks     []SinkStatus
}

// VendorNow returns the vendor's clock, the zero time before it was first asked. Safe for concurrent use.
func (p *Pipeline) VendorNow() time.Time { return p.run.clock.Now() }

// Snapshot returns what the pipeline does now. Safe for concurrent use with Run, but not from Config.Observe.
func (p *Pipeline) Snapshot() Status {
	r := p.run
	st := Status{Name: r.cfg.Name, VendorNow: r.clock.Now()}
	r.workMu.Lock()
	defer r.workMu.Unlock()
	st.Asked, st.Moved, st.Behind = r.asked, r.moved(), r.behind()
	if r.follows() {
		st.Follow, st.Next = r.cfg.Follow, time.Now().Add(r.follow.next-r.clock.since())
		if r.follow.err != nil {
			st.TickError = r.follow.err.Error()
		}
	}
	for i := range r.sinks {
		st.Sinks = append(st.Sinks, r.sinkStatus(i))
	}
	for _, part := range r.parts {
		st.AskedTime += part.asked.Duration()
		var left flow.Ranges
		for _, gap := range part.lacks() {
			left = left.Union(gap)
		}
		st.LeftTime += left.Duration()
		for w := range part.work {
			st.Slices = append(st.Slices, w.status(r.names(w.sinks)))
		}
		if l := part.lag; l != nil {
			st.Slices = append(st.Slices, SliceStatus{
				Slice: l.slice, Name: part.Name, Sinks: r.names(l.sinks), State: "waiting", WaitsFor: l.why, NextTry: l.until,
			})
		}
	}
	return st
}

func (w *work) status(names []string) SliceStatus {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	s := SliceStatus{
		Slice: w.slice, Name: w.part.Name, Sinks: names, Attempt: w.attempt, State: "waiting", WaitsFor: w.state.waits,
		Rows: w.state.rows, Bytes: w.state.bytes, Since: w.since, LastByte: w.state.lastByte,
	}
	switch {
	case w.running:
		s.State = "running"
	case w.parked:
		s.State, s.WaitsFor = "quarantined", "retry"
		if w.pauses > 0 {
			s.NextTry = w.next
		}
	default:
		s.NextTry = w.next
	}
	if !w.state.until.IsZero() && s.WaitsFor != "" && !strings.Contains(s.WaitsFor, " until ") { // a plugin may say it in its own words
		s.WaitsFor = fmt.Sprintf("%s until %s", s.WaitsFor, w.state.until.UTC().Format("15:04:05"))
	}
	if w.lastErr != nil {
		s.Error = w.lastErr.Error()
	}
	return s
}
