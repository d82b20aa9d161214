package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-io/sluice/proto/fault"
)

// tape reads the marker topic's partitions, each from its start and later from where it ended, always to an end that was known before:
// no other transaction can make it wait.
//
// Below the last stable offset the broker says what is committed. Above it, where a stranger's open transaction would stop a reader
// with isolation read_committed, the tape reads everything and takes each producer's own end of transaction for its word: those of
// this sink's partition have ended, because its producer was fenced before.
type tape struct {
	cluster *cluster
	topic   string
	step    Step
	next    map[int32]int64 // by partition: what comes next below the last stable offset
	page    int32           // bytes that are read at a time; 0: pageBytes
}

// pageBytes is how much is read at a time, in bytes, unless less is enough.
const pageBytes = 4 << 20

// decompressor is one for all, because it keeps the memory that it needs: a new one for each page took megabytes each time. It is safe for
// concurrent use.
var decompressor = kgo.DefaultDecompressor()

// read reads a partition to the end that it has now. take is called for what is committed, in order; what lies above the last stable
// offset is given again by the next read.
func (t *tape) read(ctx context.Context, partition int32, take func(r *kgo.Record) error) error {
	return t.step("read markers", func() error {
		ctx, cancel := context.WithTimeout(ctx, 4*askWithin)
		defer cancel()
		if err := t.readOnce(ctx, partition, take); err != nil {
			return explain(fmt.Sprintf("read markers in %s", t.topic), err)
		}
		return nil
	})
}

func (t *tape) readOnce(ctx context.Context, partition int32, take func(r *kgo.Record) error) error {
	offset, known := t.next[partition]
	start, end, err := t.bounds(ctx, partition)
	if err != nil {
		return err
	}
	switch {
	case !known:
		offset = start
	case start > offset:
		return fault.New(fault.Config, "read the marker topic", "the marker topic must keep every marker: which slices were committed there nobody knows now; give the sink another topic or marker_topic, or bring the markers back",
			fmt.Errorf("%s/%d begins at %d, and was read up to %d", t.topic, partition, start, offset))
	case end < offset:
		return fault.New(fault.Config, "read the marker topic", "was the topic deleted and made again? the coverage went with it: give the sink another topic or marker_topic, or bring the markers back",
			fmt.Errorf("%s/%d ends at %d, %d was read before", t.topic, partition, end, offset))
	}
	for offset < end {
		page, next, err := t.fetch(ctx, partition, offset, kgo.ReadCommitted(), false)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if err := take(r); err != nil {
				return err
			}
		}
		if next > offset {
			offset = next
			t.next[partition] = offset
			continue
		}
		if page.LastStableOffset <= offset {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	t.next[partition] = offset
	return t.readOpen(ctx, partition, offset, end, take)
}

// readOpen reads what lies above the last stable offset: what is committed there is taken, and comes again with the next read.
func (t *tape) readOpen(ctx context.Context, partition int32, offset, end int64, take func(r *kgo.Record) error) error {
	pending := map[int64][]*kgo.Record{} // by producer ID: one producer has one transaction at a time
	for offset < end {
		page, next, err := t.fetch(ctx, partition, offset, kgo.ReadUncommitted(), true)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			ended := []*kgo.Record{r}
			switch {
			case r.Attrs.IsControl():
				ended = pending[r.ProducerID]
				delete(pending, r.ProducerID)
				if !isCommit(r) {
					continue
				}
			case r.Attrs.IsTransactional():
				pending[r.ProducerID] = append(pending[r.ProducerID], r)
				continue
			}
			for _, e := range ended {
				if err := take(e); err != nil {
					return err
				}
			}
		}
		if next <= offset {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		offset = next
	}
	return nil
}

// isCommit says whether a control record ends its transaction with a commit. Its key is a version and a type of two bytes each.
func isCommit(r *kgo.Record) bool {
	return len(r.Key) >= 4 && binary.BigEndian.Uint16(r.Key[2:]) == 1
}

// bounds returns the partition's first offset and the end of what is replicated, open transactions included.
func (t *tape) bounds(ctx context.Context, partition int32) (start, end int64, err error) {
	starts, err := t.cluster.adm.ListStartOffsets(ctx, t.topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := t.cluster.adm.ListEndOffsets(ctx, t.topic)
	if err != nil {
		return 0, 0, err
	}
	s, ok := starts.Lookup(t.topic, partition)
	e, ok2 := ends.Lookup(t.topic, partition)
	if !ok || !ok2 {
		return 0, 0, fmt.Errorf("%s/%d: %w", t.topic, partition, kerr.UnknownTopicOrPartition)
	}
	return s.Offset, e.Offset, errors.Join(s.Err, e.Err)
}

// fetch reads one page. Where the partition moves or its broker restarts, it asks again until ctx ends, and then says why there was no page.
func (t *tape) fetch(ctx context.Context, partition int32, offset int64, isolation kgo.IsolationLevel, control bool) (kgo.FetchPartition, int64, error) {
	var before error
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		page, next, err := t.fetchOnce(ctx, partition, offset, isolation, control)
		if err == nil {
			return page, next, nil
		}
		if ctx.Err() != nil && before != nil {
			err = before // the last try was cut short
		}
		if !kerr.IsRetriable(err) || ctx.Err() != nil {
			return page, next, err
		}
		before = err
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return page, next, err
		}
	}
}

// movedTo says where a partition begins that has refused an offset within its bounds: a topic that forgets may have moved on since they were
// asked for. While its beginning moves, a broker also refuses offsets that it has; those are worth another try, after a pause.
func (t *tape) movedTo(ctx context.Context, partition int32, offset int64) (start int64, err error) {
	timer := time.NewTimer(refusedPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	start, end, err := t.bounds(ctx, partition)
	if err == nil && offset >= end {
		err = fmt.Errorf("the partition ends at offset %d by now, and %d is to be read: %w", end, offset, kerr.OffsetOutOfRange)
	}
	return start, err
}

// refusedPause lies between two tries of an offset that was refused.
const refusedPause = 100 * time.Millisecond

func (t *tape) fetchOnce(ctx context.Context, partition int32, offset int64, isolation kgo.IsolationLevel, control bool) (page kgo.FetchPartition, next int64, err error) {
	m, err := t.cluster.adm.Metadata(ctx, t.topic)
	if err != nil {
		return page, offset, err
	}
	d := m.Topics[t.topic]
	p, ok := d.Partitions[partition]
	switch {
	case d.Err != nil:
		return page, offset, d.Err
	case !ok:
		return page, offset, kerr.UnknownTopicOrPartition
	case p.Leader < 0:
		return page, offset, kerr.LeaderNotAvailable
	}
	most := cmp.Or(t.page, pageBytes)
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes, fp.CurrentLeaderEpoch = partition, offset, most, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID, ft.Partitions = t.topic, d.ID, []kmsg.FetchRequestTopicPartition{fp}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.Topics = 250, 1, most, []kmsg.FetchRequestTopic{ft}
	if isolation == kgo.ReadCommitted() {
		req.IsolationLevel = 1
	}
	resp, err := t.cluster.request(ctx, p.Leader, req)
	if err != nil {
		return page, offset, err
	}
	answer := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return page, offset, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return page, offset, fault.Errorf(fault.Transient, "read the marker topic", "the broker's answer has %d topics", len(answer.Topics))
	}
	rp := &answer.Topics[0].Partitions[0]
	page, next = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: control, Offset: offset, IsolationLevel: isolation, Topic: t.topic, Partition: partition,
	}, rp, decompressor, nil)
	return page, next, page.Err
}
