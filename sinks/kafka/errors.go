package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/secure"
)

// explain says what an error of the cluster asks for. Errors that have a kind keep it.
func explain(op string, err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	if e := secure.Explain(op, err); e != nil {
		return e
	}
	kind, hint := classify(err)
	return fault.New(kind, op, hint, err)
}

func classify(err error) (fault.Kind, string) {
	is := func(all ...error) bool {
		for _, e := range all {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	var dial *net.OpError
	var firstRead *kgo.ErrFirstReadEOF
	switch {
	case is(kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState):
		return fault.Auth, "check sasl: mechanism, username and password"
	case is(kerr.TopicAuthorizationFailed):
		return fault.Auth, "give the user the rights Write and Describe on the topic, and Read too on the marker topic (kafka-acls.sh)"
	case is(kerr.TransactionalIDAuthorizationFailed):
		return fault.Auth, "give the user the rights Write and Describe on transactional IDs that begin with transactional_id_prefix (kafka-acls.sh --resource-pattern-type prefixed)"
	case is(kerr.ClusterAuthorizationFailed):
		return fault.Auth, "give the user the right IdempotentWrite on the cluster (kafka-acls.sh), and Create for create_topics"
	case is(kerr.InvalidReplicationFactor, kerr.InvalidPartitions, kerr.InvalidTopicException, kerr.PolicyViolation, kerr.InvalidConfig):
		return fault.Config, "check topic and create_topics against what the cluster allows"
	case is(kerr.InvalidTransactionTimeout):
		return fault.Config, "give the user the right DescribeConfigs on the cluster: without it the brokers' transaction.max.timeout.ms is taken for 15 minutes, and it is less"
	case is(kerr.InvalidTimestamp):
		return fault.Config, "the topic refuses times that are far from now: raise its message.timestamp.before.max.ms, or set message.timestamp.type=LogAppendTime"
	case is(kerr.MessageTooLarge):
		return fault.Config, "the topic takes less than a mebibyte and doesn't say so: give the user the right DescribeConfigs on it, or raise its max.message.bytes"
	case is(kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState):
		return fault.Transient, "the transaction was ended by the broker: it took longer than transaction.max.timeout.ms (a smaller flow.slice helps), or another sluice writes to the same topic"
	case is(kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.ReplicaNotAvailable):
		return fault.Transient, "a partition has no broker that leads it: are all brokers up?"
	case errors.As(err, &firstRead), errors.Is(err, io.EOF):
		return fault.Transient, "the broker closed the connection: is it a port for TLS (tls) or SASL (sasl)?"
	case errors.As(err, &dial):
		return fault.Transient, "does a broker listen there, and may this machine connect to it? check brokers, and the cluster's advertised.listeners"
	}
	return fault.Transient, ""
}

// missingTopic says that a topic isn't there and how to get it.
func missingTopic(topic string, marker bool) error {
	hint := fmt.Sprintf("make it (kafka-topics.sh --create --topic %s ...), or set `create_topics: {}`", topic)
	if marker {
		hint = fmt.Sprintf("make it (kafka-topics.sh --create --topic %s --config cleanup.policy=compact ...), or set `create_topics: {}`", topic)
	}
	return fault.New(fault.Config, "find the topic", hint, fmt.Errorf("topic %s: %w", topic, kerr.UnknownTopicOrPartition))
}
