package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

// online proves that the sink could work, without writing to a topic: that the cluster answers and lets the user in, that topics are
// there (or may be made) and may be written to, that the marker topic keeps markers and may be read, and that a transactional ID with the
// prefix may be used. For the last a producer ID is asked for, under a name that no sink has, so that nobody is fenced.
func online(ctx context.Context, c sinks.Config) (string, error) {
	k, err := newCore(ctx, c, nil)
	if err != nil {
		return "", err
	}
	defer k.cluster.Close()
	var proved []string
	names, open, err := onlineTopics(k)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		said, err := k.proveTopic(ctx, name, false)
		if err != nil {
			return "", err
		}
		proved = append(proved, said)
	}
	if open {
		proved = append(proved, fmt.Sprintf("the topics of %s are known only when there are records", k.topic))
	}
	if k.set.Delivery == deliverTransaction {
		said, err := k.proveTopic(ctx, k.set.MarkerTopic, true)
		if err != nil {
			return "", err
		}
		proved = append(proved, said)
		timeout, err := k.proveTransactions(ctx)
		if err != nil {
			return "", err
		}
		proved = append(proved, fmt.Sprintf("transactions of up to %s may be used", timeout))
	}
	return strings.Join(proved, "; "), nil
}

// onlineTopics lists the topics that are known before there are records. open says that there are others.
func onlineTopics(k *core) (names []string, open bool, err error) {
	for _, p := range []string{"partition", "partition_by", "log_name", "date", "hour"} {
		if k.topic.Uses(p) {
			return nil, true, nil
		}
	}
	for _, st := range k.conf.Streams {
		name, err := topicOf(k.topic, target.Of(k.conf, flow.Slice{Partition: flow.Partition{Stream: st.Name}}))
		if err != nil {
			return nil, false, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, false, nil
}

// proveTopic says what may be done with a topic.
func (k *core) proveTopic(ctx context.Context, name string, marker bool) (string, error) {
	t, err := k.cluster.describe(ctx, name)
	if err != nil {
		return "", err
	}
	if t == nil {
		if k.set.CreateTopics == nil {
			return "", missingTopic(name, marker)
		}
		partitions := k.set.CreateTopics.Partitions
		if marker {
			partitions = markerPartitions
		}
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		answers, err := k.cluster.adm.ValidateCreateTopics(ctx, partitions, k.set.CreateTopics.Replication, nil, name)
		if err == nil {
			err = answers.Error()
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return "", explain("make topic "+name, err)
		}
		return fmt.Sprintf("topic %s isn't there and may be made", name), nil
	}
	if marker {
		if err := checkMarkerTopic(name, t); err != nil {
			return "", err
		}
	}
	if t.rights&(1<<rightWrite) == 0 || marker && t.rights&(1<<rightRead) == 0 {
		return "", explain("check the rights on topic "+name, kerr.TopicAuthorizationFailed)
	}
	said := fmt.Sprintf("topic %s (%d partitions, messages of up to %d bytes) may be written to", name, t.partitions, k.recordLimit(t))
	if age, ok := t.forgets(); ok {
		said += fmt.Sprintf(" and deletes records that are older than %s (retention.ms), soon after they are written if they are by then", age)
	}
	if marker {
		said = fmt.Sprintf("topic %s (%d partitions) may be read and written to, and keeps its markers", name, t.partitions)
		if t.configs == nil {
			said = fmt.Sprintf("topic %s (%d partitions) may be read and written to; whether it keeps its markers may not be asked (right DescribeConfigs)", name, t.partitions)
		}
	}
	return said, nil
}

// proveTransactions asks for a producer ID under a transactional ID that no sink has.
func (k *core) proveTransactions(ctx context.Context) (time.Duration, error) {
	timeout, err := k.cluster.maxTimeout(ctx)
	if err != nil {
		return 0, err
	}
	opts := append(append([]kgo.Opt{}, k.base...), kgo.TransactionalID(fmt.Sprintf("%s-%s-check", k.set.IDPrefix, k.id)), kgo.TransactionTimeout(timeout))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return 0, fault.New(fault.Config, "open a producer", "", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if err := fenceWith(ctx, client); err != nil {
		return 0, explain("use a transactional ID that begins with "+k.set.IDPrefix, err)
	}
	return timeout, nil
}
