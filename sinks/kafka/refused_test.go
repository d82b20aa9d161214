package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestAuditRefused: while a topic forgets, a broker refuses offsets. Those that it has are asked for again, what it has no more is missing.
func TestAuditRefused(t *testing.T) {
	cluster := fakeCluster(t)
	r := newRig(cluster.ListenAddrs()[0])
	k, receipt, bodies := r.written(t)
	// refuse answers the next read of the topic with OFFSET_OUT_OF_RANGE, after what a topic that forgets does meanwhile.
	refuse := func(meanwhile func()) {
		cluster.ControlKey(int16(kmsg.Fetch), func(q kmsg.Request) (kmsg.Response, error, bool) {
			if meanwhile != nil {
				cluster.SleepControl(meanwhile)
			}
			return refusal(q, kerr.OffsetOutOfRange), nil, true
		})
	}
	refuse(nil)
	if sum, found, err := audited(t, k, receipt); err != nil || len(found) > 0 || sum != sinktest.Account(bodies).Delivered {
		t.Errorf("refused once: %+v, %+v, %v", sum, found, err)
	}
	adm := admin(t, r.address)
	refuse(func() {
		var to kadm.Offsets
		to.AddOffset(r.topic, 0, 30, -1)
		if _, err := adm.DeleteRecords(begun(t), to); err != nil {
			t.Error(err)
		}
	})
	sum, found, err := audited(t, k, receipt)
	if err != nil || len(found) != 1 || found[0].Kind != sinks.FindingMissing || sum.Rows != 10 {
		t.Errorf("forgotten meanwhile: %+v, %+v, %v, want 10 rows and one finding", sum, found, err)
	}
}

// written opens a sink into a topic of one partition and gives it a slice of 40 records.
func (r rig) written(t *testing.T) (k sinks.Sink, receipt sinks.Receipt, bodies []string) {
	t.Helper()
	k = opened(t, r.config(map[string]any{"value": valueRaw, "create_topics": map[string]any{"partitions": 1, "replication": 1}}))
	s := sinktest.Hours("one", 0, 1)
	bodies = sinktest.Bodies(s, 40)
	receipt, err := sinktest.Write(begun(t), k, s, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return k, receipt, bodies
}

// refusal is the answer to a read that has an error for each partition, or none and no records.
func refusal(q kmsg.Request, err *kerr.Error) kmsg.Response {
	req := q.(*kmsg.FetchRequest)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	for _, topic := range req.Topics {
		one := kmsg.NewFetchResponseTopic()
		one.Topic, one.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			part := kmsg.NewFetchResponseTopicPartition()
			part.Partition = p.Partition
			if err != nil {
				part.ErrorCode = err.Code
			}
			one.Partitions = append(one.Partitions, part)
		}
		resp.Topics = append(resp.Topics, one)
	}
	return resp
}

// TestAuditEnds: a topic that was there when its bounds were asked for and is gone when it is read is missing, and one that no broker leads, or
// that brings nothing, is an error. None of them makes whoever reads it back wait without end.
func TestAuditEnds(t *testing.T) {
	cluster := fakeCluster(t)
	k, receipt, _ := newRig(cluster.ListenAddrs()[0]).written(t)
	k.(*Sink).patience = 300 * time.Millisecond
	var answer *kerr.Error
	cluster.ControlKey(int16(kmsg.Fetch), func(q kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return refusal(q, answer), nil, true
	})
	for _, tt := range []struct {
		answer *kerr.Error
		found  bool
		want   string
	}{
		{kerr.UnknownTopicOrPartition, true, "is gone by now; messages up to offset 39"},
		{kerr.NotLeaderForPartition, false, "NOT_LEADER_FOR_PARTITION"},
		{nil, false, "has brought nothing"},
	} {
		answer = tt.answer
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		found, err := k.(sinks.Auditor).Audit(ctx, receipt, func(flow.Sum) error { return nil })
		cancel()
		var said string
		for _, f := range found {
			said += string(f.Kind) + " " + f.What
		}
		if tt.found && (err != nil || len(found) != 1 || found[0].Kind != sinks.FindingMissing || !strings.Contains(said, tt.want)) {
			t.Errorf("%v: %q, %v, want what is missing: %q", tt.answer, said, err, tt.want)
		}
		if !tt.found && (fault.KindOf(err) != fault.Transient || !strings.Contains(err.Error(), tt.want) || said != "" ||
			strings.Contains(fault.HintOf(err), "are all brokers up?") != (tt.answer != nil)) {
			t.Errorf("%v: %q, %v, want an error with %q", tt.answer, said, err, tt.want)
		}
	}
	k.(*Sink).patience = time.Hour
	answer = kerr.UnknownTopicOrPartition
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if found, err := k.(sinks.Auditor).Audit(ctx, receipt, func(flow.Sum) error { return nil }); !errors.Is(err, context.Canceled) || len(found) > 0 {
		t.Errorf("stopped: %v, %v", found, err)
	}
}
