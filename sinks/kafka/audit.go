package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var _ sinks.Auditor = (*Sink)(nil)

// Audit implements sinks.Auditor: it reads what the slice's producer wrote between the offsets in its marker.
func (k *Sink) Audit(ctx context.Context, r sinks.Receipt, each func(flow.Sum) error) ([]sinks.Finding, error) {
	if err := k.checkOpen(); err != nil {
		return nil, err
	}
	at, ok := k.covered.placed(r)
	if !ok {
		return nil, fault.Errorf(fault.Bug, "read a slice back", "slice %s: it isn't entry %d of the markers that were read", r.Slice, r.Entry)
	}
	if at == nil {
		return k.differs(r, flow.Sum{}, "", nil, "")
	}
	if len(at.spans) == 0 {
		return nil, &sinks.InexactError{
			Why: "its marker is of a version that doesn't say where the messages are", Compared: "what its marker and the ledger say of it",
		}
	}
	dec, err := k.newDecoder(r.Slice.Stream)
	if err != nil {
		return nil, err
	}
	defer dec.close()
	a := &audit{sink: k, place: at, dec: dec, each: each, page: auditPage(r.Delivered.Bytes)}
	for _, s := range at.spans {
		if err := a.span(ctx, s); err != nil {
			return a.found, explain("read topic "+at.topic, err)
		}
	}
	return k.differs(r, a.sum, at.topic, a.found, dec.lossy())
}

// differs adds that the records don't add up, if nothing else explains it.
func (*Sink) differs(r sinks.Receipt, sum flow.Sum, topic string, found []sinks.Finding, lossy string) ([]sinks.Finding, error) {
	what := r.Difference(sum)
	switch {
	case what == "" || len(found) > 0:
		return found, nil
	case lossy != "" && sum.Rows == r.Delivered.Rows:
		return nil, &sinks.InexactError{Why: lossy, Compared: "rows"}
	case topic == "":
		topic = r.Slice.String()
	}
	return []sinks.Finding{{Kind: sinks.FindingDiffers, Path: topic, What: what, Hint: hintGone}}, nil
}

// mostRefused is how often offsets that the partition has may be refused, and how often nothing may come from them.
const mostRefused = 50

// Hints of findings.
const hintGone = "a topic forgets by retention, compaction or deletion: see its retention.ms, retention.bytes and cleanup.policy; what is covered stays covered"

// audit reads the messages of one slice.
type audit struct {
	sink  *Sink
	place *place
	dec   *decoder
	each  func(flow.Sum) error
	page  int32 // bytes that are read at a time

	sum   flow.Sum
	found []sinks.Finding
}

// auditPage is how much of a topic is read at a time for a slice whose records have so many bytes: about all of it, for what follows are
// others' messages, which each small slice would read and throw away. A broker sends a batch whole, even one that is larger.
func auditPage(bytes uint64) int32 {
	const least = 32 << 10
	return int32(min(least+2*bytes, pageBytes))
}

func (a *audit) add(kind sinks.FindingKind, s span, offset int64, format string, args ...any) {
	a.found = append(a.found, sinks.Finding{
		Kind: kind, Path: fmt.Sprintf("%s/%d offset %d", a.place.topic, s.Partition, offset), What: fmt.Sprintf(format, args...), Hint: hintGone,
	})
}

// span reads the messages in one partition.
func (a *audit) span(ctx context.Context, s span) error {
	t := &tape{cluster: a.sink.cluster, topic: a.place.topic, step: a.sink.step, page: a.page}
	start, end, err := t.bounds(ctx, s.Partition)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		a.add(sinks.FindingMissing, s, s.First, "the topic or its partition isn't there; messages up to offset %d were committed", s.Last)
		return nil
	} else if err != nil {
		return err
	}
	if start > s.First {
		a.add(sinks.FindingMissing, s, s.First, "the partition begins at offset %d: what was committed before it, from %d to %d, is gone", start, s.First, min(start-1, s.Last))
	}
	if end <= s.Last {
		a.add(sinks.FindingTruncated, s, end, "the partition ends at offset %d, messages up to %d were committed", end, s.Last)
	}
	// Below the last stable offset a reader of committed messages is asked for. A transaction of someone else may be open before what
	// is to be read: from there on the marker, which was in the same transaction, says that the messages are committed.
	isolation, refused, empty := kgo.ReadCommitted(), 0, 0
	for offset, last := max(s.First, start), min(s.Last, end-1); offset <= last; {
		page, next, err := a.fetch(ctx, t, s.Partition, offset, isolation)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			a.add(sinks.FindingMissing, s, offset, "the topic or its partition is gone by now; messages up to offset %d were committed", s.Last)
			return nil
		}
		if errors.Is(err, kerr.OffsetOutOfRange) && refused < mostRefused {
			refused++
			if start, err = t.movedTo(ctx, s.Partition, offset); err != nil {
				return err
			}
			if start > offset {
				a.add(sinks.FindingMissing, s, offset, "the partition begins at offset %d by now: from %d to %d, what was committed is gone", start, offset, min(start-1, last))
				offset = start
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if r.Offset < offset || r.Offset > last || r.ProducerID != a.place.producer {
				continue
			}
			if err := a.message(s, r); err != nil {
				return err
			}
		}
		if next > offset {
			offset, empty = next, 0
			continue
		}
		if empty++; empty > mostRefused {
			return fault.Errorf(fault.Transient, "", "the partition ends at offset %d, and a read from %d on has brought nothing %d times", end, offset, empty)
		}
		if page.LastStableOffset <= last {
			isolation = kgo.ReadUncommitted()
		}
	}
	return nil
}

// fetch reads one page of a partition that brokers answer for within the sink's patience: whoever reads a topic back shouldn't wait without
// end for one that was deleted meanwhile or has lost its brokers.
func (a *audit) fetch(ctx context.Context, t *tape, partition int32, offset int64, isolation kgo.IsolationLevel) (kgo.FetchPartition, int64, error) {
	within, cancel := context.WithTimeout(ctx, a.sink.patience)
	defer cancel()
	page, next, err := t.fetch(within, partition, offset, isolation, false)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return page, next, err
}

func (a *audit) message(s span, r *kgo.Record) error {
	var aborted error
	err := a.dec.sums(r.Value, func(sum flow.Sum) error {
		a.sum = a.sum.Plus(sum)
		aborted = a.each(sum)
		return aborted
	})
	if err != nil && aborted == nil {
		a.add(sinks.FindingChanged, s, r.Offset, "the message can't be read: %v", err)
		return nil
	}
	return aborted
}
