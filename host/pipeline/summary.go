package pipeline

import (
	"slices"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Summary says how a run of one pipeline went. Durations are sums over the partitions.
type Summary struct {
	Pipeline    string
	Started     time.Time
	Ended       time.Time
	Range       flow.Range    // what was asked, up to the vendor's now minus lag
	Asked       time.Duration // of log time
	Covered     time.Duration // of it, by every sink, earlier runs included
	Missing     time.Duration // of it, lacked by at least one sink
	Due         time.Duration // of Missing, what a run must not end without: not what came while it followed
	Follow      time.Duration // how often new time was asked for; 0: the run ended by itself
	Unavailable time.Duration // of it, what the vendor no longer has
	Slices      int           // committed by this run
	Rows        uint64        // committed by this run, each once however many sinks took it
	Bytes       uint64        // of them, as the digest counts
	DeadLetters uint64        // records, each for each sink
	Late        LateSummary   // of committed ranges that were read again
	TooManyDead bool
	Stopped     bool // told to stop, or ended
	Faults      []Fault
	Counters    map[string]uint64
	Pace        Pace
	Err         error // of the pipeline as a whole
	Partitions  []PartitionSummary
	Sinks       []SinkSummary
}

// Pace is how fast the slices went that were read from the vendor and committed, summed over them.
type Pace struct {
	Opened  int           // that didn't wait for the budget
	Opening time.Duration // of them, until the vendor's answer had begun
	Reading time.Duration // of all, from there to the commit
	Bytes   uint64        // of all, as the digest counts
}

func (p *Pace) add(out outcome) {
	if !out.fromVendor {
		return
	}
	if out.opening > 0 {
		p.Opened++
		p.Opening += out.opening
	}
	p.Reading += out.took
	p.Bytes += out.sum.Bytes
}

// SinkSummary is how a sink stood when the run ended: Left is what it lacks of what was asked.
type SinkSummary struct {
	SinkStatus
	Hint      string
	Unchecked int // committed ranges that were due to be read again for it, and weren't
}

// failed reports whether the sink was down and so lacks something.
func (s *SinkSummary) failed() bool {
	return (s.Left > 0 || s.Unchecked > 0) && s.State != SinkUp && s.State != SinkOpening
}

// PartitionSummary is one partition's part of the Summary.
type PartitionSummary struct {
	flow.Partition
	Name        string
	Missing     flow.Ranges // lacked by at least one sink
	Unavailable flow.Ranges
	Covered     time.Duration
}

// Fault is a slice that this run couldn't carry.
type Fault struct {
	Slice       flow.Slice
	Name        string
	Kind        fault.Kind
	Quarantined bool
	Message     string
	Hint        string
}

func (r *run) fault(w *work, err error, quarantined bool) {
	r.summary.Faults = append(dropFault(r.summary.Faults, w.slice.ID), Fault{
		Slice: w.slice, Name: w.part.Name, Kind: fault.KindOf(err), Quarantined: quarantined, Message: err.Error(), Hint: fault.HintOf(err),
	})
}

// finish counts what is covered when the run has ended.
func (r *run) finish(err error) {
	s := &r.summary
	s.Ended, s.Range, s.Err, s.Follow = time.Now().UTC(), r.asked, err, r.cfg.Follow
	s.Stopped = s.Stopped || fault.KindOf(err) == fault.Canceled
	s.TooManyDead = s.DeadLetters > r.cfg.DeadMax
	for _, p := range r.parts {
		want := p.asked
		gone := want.Intersect(p.unavailable)
		var missing flow.Ranges
		for _, gap := range p.lacks() {
			missing = missing.Union(gap)
		}
		covered := want.Minus(missing).Minus(gone).Duration()
		s.Asked += want.Duration()
		s.Missing += missing.Duration()
		s.Due += missing.Minus(r.followWork()).Duration()
		s.Unavailable += gone.Duration()
		s.Covered += covered
		s.Partitions = append(s.Partitions, PartitionSummary{
			Partition: p.Partition.Partition, Name: p.Name, Missing: missing, Unavailable: gone, Covered: covered,
		})
	}
	for i := range r.sinks {
		one := SinkSummary{SinkStatus: r.sinkStatus(i), Unchecked: r.unchecked(i)}
		if one.State != SinkUp {
			one.Hint = fault.HintOf(r.sinks[i].err)
		}
		s.Sinks = append(s.Sinks, one)
	}
	r.observe(Event{Kind: Ended, Err: err, Hint: fault.HintOf(err)})
}

// AllNotFound reports whether every partition was unknown to the vendor, which reads as a wrong key or region.
func (s *Summary) AllNotFound() bool {
	lost := map[flow.Partition]bool{}
	for _, f := range s.Faults {
		if f.Kind == fault.NotFound {
			lost[f.Slice.Partition] = true
		}
	}
	return len(s.Partitions) > 0 && len(lost) == len(s.Partitions)
}

// Failed reports whether the run must end with exit code 1.
func (s *Summary) Failed() bool {
	return s.Err != nil && fault.KindOf(s.Err) != fault.Canceled || len(s.Faults) > 0 || s.TooManyDead ||
		slices.ContainsFunc(s.Sinks, func(k SinkSummary) bool { return k.failed() })
}

// Complete reports whether everything that was asked is covered or unavailable, but for what came while the run followed: that is never
// done.
func (s *Summary) Complete() bool { return s.Err == nil && s.Due == 0 }
