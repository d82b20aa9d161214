package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestAuditRefused: while a topic forgets, a broker refuses offsets. Those that it has are asked for again, what it has no more is missing.
func TestAuditRefused(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := newRig(cluster.ListenAddrs()[0])
	k := opened(t, r.config(map[string]any{"value": valueRaw, "create_topics": map[string]any{"partitions": 1, "replication": 1}}))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 40)
	receipt, err := sinktest.Write(begun(t), k, s, bodies)
	if err != nil {
		t.Fatal(err)
	}
	// refuse answers the next reads of the topic with OFFSET_OUT_OF_RANGE, after what a topic that forgets does meanwhile.
	refuse := func(meanwhile func()) {
		cluster.ControlKey(int16(kmsg.Fetch), func(q kmsg.Request) (kmsg.Response, error, bool) {
			req := q.(*kmsg.FetchRequest)
			if meanwhile != nil {
				cluster.SleepControl(meanwhile)
			}
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			for _, topic := range req.Topics {
				one := kmsg.NewFetchResponseTopic()
				one.Topic, one.TopicID = topic.Topic, topic.TopicID
				for _, p := range topic.Partitions {
					part := kmsg.NewFetchResponseTopicPartition()
					part.Partition, part.ErrorCode = p.Partition, kerr.OffsetOutOfRange.Code
					one.Partitions = append(one.Partitions, part)
				}
				resp.Topics = append(resp.Topics, one)
			}
			return resp, nil, true
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
