package main

import (
	"fmt"

	"github.com/sluice-io/sluice/host/pipeline"
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
