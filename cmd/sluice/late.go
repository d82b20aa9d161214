package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

// lateSummary is what a run found late in committed ranges that it looked at again.
type lateSummary struct {
	Windows int    `json:"windows"` // that were looked at
	Unmoved int    `json:"unmoved"` // of them, not read: the vendor's own figures hadn't moved
	Found   int    `json:"found"`   // of them, in which something was late
	Refused int    `json:"refused"` // of them, that a sink couldn't be compared for
	Rows    uint64 `json:"rows"`    // late, part of the run's rows
	Bytes   uint64 `json:"bytes"`
	Gone    uint64 `json:"gone"` // records that a sink holds and the vendor no longer serves
}

// lateOf is nil for a run that looked at nothing again.
func lateOf(s pipeline.LateSummary) *lateSummary {
	if s == (pipeline.LateSummary{}) {
		return nil
	}
	out := lateSummary(s)
	return &out
}

// plus adds what another pipeline found; both may be nil.
func (s *lateSummary) plus(o *lateSummary) *lateSummary {
	if s == nil || o == nil {
		if s == nil {
			return o
		}
		return s
	}
	return &lateSummary{
		s.Windows + o.Windows, s.Unmoved + o.Unmoved, s.Found + o.Found, s.Refused + o.Refused, s.Rows + o.Rows, s.Bytes + o.Bytes, s.Gone + o.Gone,
	}
}

// text says it for people: "late: 12 records found in 2 of 5 windows, 1 not read again".
func (s *lateSummary) text() string {
	text := fmt.Sprintf("late: %s found in %d of %s", counted(s.Rows, "record"), s.Found, counted(uint64(s.Windows), "window"))
	if s.Unmoved > 0 {
		text += fmt.Sprintf("; %d not read again: the vendor's own figures haven't moved", s.Unmoved)
	}
	if s.Refused > 0 {
		text += fmt.Sprintf("; %d can't be compared: `sluice verify` says why", s.Refused)
	}
	if s.Gone > 0 {
		text += fmt.Sprintf("; %s no longer served by the vendor", counted(s.Gone, "record"))
	}
	return text
}

// lateStatus is what `status` says of late records: of the sink that was given the most.
type lateStatus struct {
	Windows int    `json:"windows"` // that were looked at, unmoved ones included
	Found   int    `json:"found"`   // of them, in which something was late
	Rows    uint64 `json:"rows"`    // late
	Bytes   uint64 `json:"bytes"`
	Gone    uint64 `json:"gone"` // records that the sink holds and the vendor no longer served when it was last looked
	Last    string `json:"last,omitempty"`
	Due     int    `json:"due"`            // windows that the next run, or tick, looks at
	Next    string `json:"next,omitempty"` // when another becomes due, by the vendor's clock
}

// late is nil for a pipeline that looks at nothing again and never did.
func (r *reading) late(ctx context.Context, all []sinkStatus) (*lateStatus, error) {
	after := r.pipeline.Recheck.After
	if r.ledger == nil {
		return nil, nil
	}
	var out lateStatus
	var next time.Time
	for _, k := range all {
		if k.identity == "" {
			continue
		}
		t, err := r.ledger.Late(ctx, k.identity)
		if err != nil {
			return nil, err
		}
		if t.Checked > out.Windows || t.Rows > out.Rows {
			out.Windows, out.Found, out.Rows, out.Bytes, out.Gone, out.Last = t.Checked, t.Windows, t.Rows, t.Bytes, t.Gone, stamp(t.Last)
		}
		due, soon, err := r.nextRecheck(ctx, k)
		if err != nil {
			return nil, err
		}
		out.Due = max(out.Due, due)
		if !soon.IsZero() && (next.IsZero() || soon.Before(next)) {
			next = soon
		}
	}
	if len(after) == 0 && out.Windows == 0 {
		return nil, nil
	}
	if !next.IsZero() {
		out.Next = stamp(next)
	}
	return &out, nil
}

// nextRecheck is how many windows of a sink are due, and when the next becomes so by the vendor's clock.
func (r *reading) nextRecheck(ctx context.Context, k sinkStatus) (due int, next time.Time, err error) {
	if len(r.pipeline.Recheck.After) == 0 {
		return 0, next, nil
	}
	recorded, err := r.recorded(ctx, k.identity)
	if err != nil {
		return 0, next, err
	}
	for _, p := range recorded {
		if !r.asks(p) {
			continue
		}
		n, soon, err := pipeline.NextRecheck(ctx, r.ledger, k.identity, p, r.streams[p.Stream], r.pipeline.Recheck.After, r.pipeline.Lag, r.horizon)
		if err != nil {
			return 0, next, err
		}
		due += n
		if soon.IsZero() {
			continue
		}
		if soon = soon.Add(r.pipeline.Lag); next.IsZero() || soon.Before(next) {
			next = soon
		}
	}
	return due, next, nil
}

// asks reports whether the last start asked for a partition, as far as that is known.
func (r *reading) asks(p flow.Partition) bool {
	for _, k := range r.known {
		if k.Partition == p {
			return true
		}
	}
	return len(r.known) == 0
}

// text says it for people: "late: 123 records found in 4 windows; next recheck 2026-11-02T01:05:00Z".
func (s *lateStatus) text() string {
	text := fmt.Sprintf("late: %s found in %s of %d looked at", counted(s.Rows, "record"), counted(uint64(s.Found), "window"), s.Windows)
	if s.Gone > 0 {
		text += fmt.Sprintf(", %s no longer served", counted(s.Gone, "record"))
	}
	switch {
	case s.Due > 0:
		text += fmt.Sprintf("; %s due now", counted(uint64(s.Due), "window"))
	case s.Next != "":
		text += "; next recheck " + s.Next
	}
	return text
}
