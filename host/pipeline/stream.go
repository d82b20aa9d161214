package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Stream is what decides which ranges of a stream may be asked for. The zero Stream is of records by time, to the
// millisecond.
type Stream struct {
	// Snapshot streams hold what is now: the slice is the first millisecond of a UTC day, due from then plus lag, and past
	// days without one can't be had any more.
	Snapshot bool
	// Granularity is what slices begin and end at multiples of, since the epoch; 0: a millisecond.
	Granularity time.Duration
	// Settle is how much longer than the lag a range must be over before it is asked for.
	Settle time.Duration
	// DigestColumns are what the digest hashes of a record; empty: the text body.
	DigestColumns []string
	// Schema is the stream's; it is needed to make dead letters records again, and to tell whether what is spooled is of it.
	Schema *arrow.Schema
}

// sum counts and hashes the records of a batch.
func (s Stream) sum(rec arrow.Record) (flow.Sum, error) {
	if len(s.DigestColumns) > 0 {
		return flow.SumColumns(rec, s.DigestColumns)
	}
	return flow.SumRecord(rec)
}

// Asks returns what of a range is asked of a stream when the vendor's now minus lag is horizon.
func (s Stream) Asks(r flow.Range, horizon time.Time) flow.Ranges {
	if r.Empty() {
		return nil
	}
	if s.Settle > 0 {
		if settled := horizon.Add(-s.Settle); settled.Before(r.To) {
			r.To = settled
		}
	}
	if s.Snapshot {
		var out flow.Ranges
		for _, day := range (flow.Range{From: flow.Day(r.From), To: r.To}).CutDays() {
			if first := firstMilli(day.From); !first.To.After(r.To) {
				out = append(out, first)
			}
		}
		return out
	}
	if s.Granularity > 0 {
		r.From, r.To = floor(r.From, s.Granularity), floor(r.To, s.Granularity)
	}
	return flow.NewRanges(r)
}

func firstMilli(day time.Time) flow.Range {
	return flow.Range{From: day, To: day.Add(time.Millisecond)}
}

// floor cuts a time to a multiple since the Unix epoch, whose days are UTC's.
func floor(t time.Time, d time.Duration) time.Time {
	ms := t.UnixMilli()
	step := d.Milliseconds()
	rest := ((ms % step) + step) % step
	return time.UnixMilli(ms - rest).UTC()
}

// stream returns what is known of a partition's stream.
func (r *run) stream(p flow.Partition) Stream { return r.cfg.Streams[p.Stream] }

// missed takes the snapshots of past days, which no sink can be given any more, out of what is asked and returns them.
func (r *run) missed(p *partition) flow.Ranges {
	if !r.stream(p.Partition.Partition).Snapshot {
		return nil
	}
	today := flow.Day(r.clock.Now())
	var missed flow.Ranges
	for _, gap := range p.lacks() {
		for _, lost := range gap {
			if lost.From.Before(today) {
				missed = missed.Add(lost)
			}
		}
	}
	p.unavailable = p.unavailable.Union(missed)
	return missed
}

// recordMissed says in the ledger which snapshots were missed.
func (r *run) recordMissed(ctx context.Context, p *partition) error {
	for _, lost := range r.missed(p) {
		reason := "a snapshot tells what is now, and none was taken on " + lost.From.Format(time.DateOnly)
		if err := r.cfg.Ledger.MarkUnavailable(ctx, p.Partition.Partition, lost, reason); err != nil {
			return err
		}
	}
	return nil
}

// onItsDay refuses a snapshot that the vendor answers on another day than its slice's.
func onItsDay(s flow.Slice, vendor time.Time) error {
	if vendor.Before(s.Day().Add(24 * time.Hour)) {
		return nil
	}
	return fault.New(fault.Unavailable, "read", "",
		fmt.Errorf("the day of the snapshot is over: the vendor's clock says %s", vendor.UTC().Format(time.RFC3339)))
}
