package report

import (
	"time"

	"github.com/sluice-io/sluice/host/reconcile"
	"github.com/sluice-io/sluice/proto/flow"
)

// Report is the account of a month. Its fields are what is printed as JSON; durations are milliseconds of log time, times RFC 3339 in UTC.
type Report struct {
	V         int        `json:"v"`
	TS        string     `json:"ts"`    // as AsOf
	Event     string     `json:"event"` // "report"
	Month     string     `json:"month"`
	From      string     `json:"from"`
	To        string     `json:"to"`
	AsOf      string     `json:"as_of"` // the ledger's latest stamp
	Over      bool       `json:"over"`  // the month was over by then
	Pipelines []Pipeline `json:"pipelines"`
	Totals    Totals     `json:"totals"`
}

// Pipeline is the account of one pipeline.
type Pipeline struct {
	Name     string    `json:"name"`
	Source   string    `json:"source"`
	Versions []Version `json:"versions"` // of those that were at work in the month
	Runs     Runs      `json:"runs"`
	Sinks    []Sink    `json:"sinks"`
}

// Version says by what a pipeline ran, from when on.
type Version struct {
	Since         string `json:"since"`
	Sluice        string `json:"sluice"`
	Source        string `json:"source"`
	SourceVersion string `json:"source_version"`
}

// Runs counts the runs that ended in the month.
type Runs struct {
	Ended  int `json:"ended"`
	Failed int `json:"failed"` // that ended with another exit code than 0
}

// Sink is the account of one sink of a pipeline.
type Sink struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Promise  string `json:"promise"`
	Identity string `json:"identity,omitempty"`
	Location string `json:"location,omitempty"`
	Known    bool   `json:"known"` // the ledger knows of it
	Logs     []Log  `json:"logs"`
	Totals   Totals `json:"totals"`
}

// Totals sums up logs.
type Totals struct {
	Logs        int    `json:"logs"`
	Asked       int64  `json:"asked_ms"`
	Covered     int64  `json:"covered_ms"`
	Missing     int64  `json:"missing_ms"`
	Unavailable int64  `json:"unavailable_ms"`
	Rows        uint64 `json:"rows"`
	Bytes       uint64 `json:"bytes"`
	Dead        uint64 `json:"dead_rows"`
	Late        uint64 `json:"late_rows"`
	Failures    int    `json:"failures"`
	Flagged     int    `json:"flagged_days"`
}

// Log is the account of one partition in one sink.
type Log struct {
	Stream      string    `json:"stream"`
	Partition   string    `json:"partition"`
	Name        string    `json:"name,omitempty"`
	Selection   string    `json:"selection"`
	Snapshot    bool      `json:"snapshot,omitempty"` // each millisecond of log time is one
	Asked       int64     `json:"asked_ms"`
	Covered     int64     `json:"covered_ms"`
	Missing     int64     `json:"missing_ms"`
	Unavailable int64     `json:"unavailable_ms"`
	Slices      int       `json:"slices"`
	Delivered   flow.Sum  `json:"-"`
	Rows        uint64    `json:"rows"` // delivered, all revisions
	Bytes       uint64    `json:"bytes"`
	Digest      string    `json:"digest"`
	Dead        DeadRows  `json:"dead"`
	Late        Late      `json:"late"`
	Usage       *Usage    `json:"usage,omitempty"`
	Gaps        []Span    `json:"gaps,omitempty"`
	Gone        []Gone    `json:"gone,omitempty"`
	Failures    []Failure `json:"failures,omitempty"`
	FirstCommit string    `json:"first_commit,omitempty"`
	LastCommit  string    `json:"last_commit,omitempty"`
}

// DeadRows is what could not be delivered.
type DeadRows struct {
	Rows   uint64 `json:"rows"`
	Bytes  uint64 `json:"bytes"`
	Digest string `json:"digest,omitempty"`
	Resent uint64 `json:"resent_rows"` // of them, those that were sent again
}

// Late is what later revisions added to covered ranges: records that the vendor indexed late.
type Late struct {
	Revisions int    `json:"revisions"`
	Rows      uint64 `json:"rows"`
	Bytes     uint64 `json:"bytes"`
}

// Usage is what the vendor says of the month, beside what was delivered on the days that it tells of.
type Usage struct {
	Unit      reconcile.Unit `json:"unit"`
	Figure    int64          `json:"figure"` // of the days that it tells of
	Delivered int64          `json:"delivered"`
	DaysTold  int            `json:"days_told"`
	Ratio     float64        `json:"ratio,omitempty"`    // the vendor's figure by what was delivered: the median of full days
	Overhead  int64          `json:"overhead,omitempty"` // bytes that the vendor seems to count for each record beside its own
	RatioDays int            `json:"ratio_days"`
	Tolerance float64        `json:"tolerance,omitempty"`
	Agree     int            `json:"agree"`
	Unjudged  int            `json:"unjudged"`
	Flagged   []FlaggedDay   `json:"flagged,omitempty"`
}

// FlaggedDay is a day whose figure doesn't go with what was delivered.
type FlaggedDay struct {
	Day       string            `json:"day"`
	Verdict   reconcile.Verdict `json:"verdict"`
	Figure    int64             `json:"figure"`
	Delivered int64             `json:"delivered"`
	Expected  int64             `json:"expected"` // -1: not known
}

// Span is a range of time.
type Span struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Gone is what the vendor no longer has.
type Gone struct {
	Span
	Reason string `json:"reason"`
	Learnt string `json:"learnt"`
}

// Failure is a slice that was given up for its run.
type Failure struct {
	Span
	Slice       string `json:"slice"`
	Quarantined bool   `json:"quarantined"`
	Attempts    uint32 `json:"attempts"`
	Kind        string `json:"kind"`
	Error       string `json:"error"`
	Hint        string `json:"hint,omitempty"`
	At          string `json:"at,omitempty"`
}

func spanOf(r flow.Range) Span { return Span{stamp(r.From), stamp(r.To)} }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(flow.Layout)
}

func (t *Totals) add(o Totals) {
	t.Logs += o.Logs
	t.Asked += o.Asked
	t.Covered += o.Covered
	t.Missing += o.Missing
	t.Unavailable += o.Unavailable
	t.Rows += o.Rows
	t.Bytes += o.Bytes
	t.Dead += o.Dead
	t.Late += o.Late
	t.Failures += o.Failures
	t.Flagged += o.Flagged
}

func (l *Log) totals() Totals {
	t := Totals{
		Logs: 1, Rows: l.Rows, Bytes: l.Bytes, Dead: l.Dead.Rows - min(l.Dead.Rows, l.Dead.Resent), Late: l.Late.Rows, Failures: len(l.Failures),
	}
	if !l.Snapshot { // a snapshot's millisecond isn't log time that can be summed up
		t.Asked, t.Covered, t.Missing, t.Unavailable = l.Asked, l.Covered, l.Missing, l.Unavailable
	}
	if l.Usage != nil {
		t.Flagged = len(l.Usage.Flagged)
	}
	return t
}
