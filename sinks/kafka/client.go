package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

const (
	// maxBatch is what fits a request with room to spare.
	maxBatch = 1 << 30
	// askWithin bounds everything that is asked of the cluster beside writing: it is down when it has no answer then.
	askWithin = 30 * time.Second
	// defaultTimeout is transaction.max.timeout.ms of a broker that doesn't say.
	defaultTimeout = 15 * time.Minute
	// defaultRecord is max.message.bytes of a topic that doesn't say.
	defaultRecord = 1<<20 + 12
)

// baseOptions are those of every client.
func (s settings) baseOptions(c sinks.Config) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.ClientID("sluice"), kgo.SoftwareNameAndVersion("sluice", versionOf(c.Sluice)), kgo.SeedBrokers(s.Brokers...),
		kgo.DialTimeout(10 * time.Second), kgo.RetryTimeout(askWithin), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if s.TLS.On(false) {
		conf, err := s.TLS.Config(c.Base)
		if err != nil {
			return nil, fault.New(fault.Config, "read the TLS files", "", err)
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	}
	if a := s.SASL; a != nil {
		switch a.Mechanism {
		case "plain":
			opts = append(opts, kgo.SASL(plain.Auth{User: a.Username, Pass: string(a.Password)}.AsMechanism()))
		case "scram-sha-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: a.Username, Pass: string(a.Password)}.AsSha256Mechanism()))
		case "scram-sha-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: a.Username, Pass: string(a.Password)}.AsSha512Mechanism()))
		}
	}
	return opts, nil
}

// versionOf makes a version fit for the protocol, which takes letters, digits, '.' and '-'.
func versionOf(v string) string {
	if v == "" {
		return "unknown"
	}
	return fmt.Sprint(topicName(v))
}

// producerOptions are those of clients that write records.
func (s settings) producerOptions(limit int64) []kgo.Opt {
	maxRecord := int32(min(limit, maxBatch))
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		// The fastest level: the next one costs half as much again and makes logs no smaller.
		"zstd": kgo.ZstdCompression().WithLevel(int(zstd.SpeedFastest)),
	}[s.Compression]
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(maxRecord),
		kgo.BrokerMaxWriteBytes(max(maxRecord+1<<20, 100<<20)), kgo.RecordPartitioner(partitioner{s.MarkerTopic, kgo.StickyKeyPartitioner(nil)}),
		// The sink counts the bytes itself, with what the client needs for each record.
		kgo.MaxBufferedRecords(math.MaxInt32), kgo.ProducerLinger(5 * time.Millisecond),
		// No delivery timeout: the client counts it from the record's time, which may be last year's. See writer.wait.
	}
}

// partitioner puts markers where they belong and records by their key.
type partitioner struct {
	markers string
	records kgo.Partitioner
}

// ForTopic implements kgo.Partitioner.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if topic == p.markers {
		return kgo.ManualPartitioner().ForTopic(topic)
	}
	return p.records.ForTopic(topic)
}

// cluster is a client that writes nothing: it asks for what is there.
type cluster struct {
	*kgo.Client
	adm *kadm.Client
}

func (s settings) connect(c sinks.Config) (*cluster, error) {
	opts, err := s.baseOptions(c)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fault.New(fault.Config, "connect to Kafka", "", err)
	}
	return &cluster{Client: client, adm: kadm.NewClient(client)}, nil
}

// clusterID asks which cluster it is.
func (c *cluster) clusterID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	m, err := c.adm.BrokerMetadata(ctx)
	if err != nil {
		return "", explain("connect to Kafka", err)
	}
	if m.Cluster == "" {
		return "", fault.New(fault.Config, "connect to Kafka", "a broker of version 0.10.1 or later is needed", errors.New("the cluster has no ID"))
	}
	return m.Cluster, nil
}

// maxTimeout asks how long a transaction may stay open at most.
func (c *cluster) maxTimeout(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	m, err := c.adm.BrokerMetadata(ctx)
	if err != nil {
		return 0, explain("ask for transaction.max.timeout.ms", err)
	}
	timeout := time.Duration(math.MaxInt32) * time.Millisecond
	for _, b := range m.Brokers {
		ms := defaultTimeout.Milliseconds()
		configs, err := c.adm.DescribeBrokerConfigs(ctx, b.NodeID)
		if err != nil && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			return 0, explain("ask for transaction.max.timeout.ms", err)
		}
		for _, r := range configs {
			for _, entry := range r.Configs {
				if n, err := strconv.ParseInt(entry.MaybeValue(), 10, 64); entry.Key == "transaction.max.timeout.ms" && err == nil && n > 0 {
					ms = n
				}
			}
		}
		timeout = min(timeout, time.Duration(ms)*time.Millisecond)
	}
	return timeout, nil
}

// Rights as bits of the protocol's authorized operations.
const (
	rightRead  = 3
	rightWrite = 4
)

// topic is what is known of a topic.
type topic struct {
	partitions int
	maxRecord  int64             // max.message.bytes
	rights     int32             // what the user may do: bits of rightRead, rightWrite
	configs    map[string]string // nil if they may not be read
}

// describe returns a topic, nil if there is none.
func (c *cluster) describe(ctx context.Context, name string) (*topic, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	op := "find topic " + name
	// Asked afresh: what the client remembers may be older than the topic.
	req := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(name)
	req.Topics, req.IncludeTopicAuthorizedOperations = []kmsg.MetadataRequestTopic{asked}, true
	resp, err := req.RequestWith(ctx, c.Client)
	if err != nil {
		return nil, explain(op, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fault.Errorf(fault.Transient, op, "the broker's answer has %d topics", len(resp.Topics))
	}
	d := resp.Topics[0]
	switch err := kerr.ErrorForCode(d.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, nil
	case err != nil:
		return nil, explain(op, err)
	}
	t := &topic{partitions: len(d.Partitions), maxRecord: defaultRecord, rights: d.AuthorizedOperations}
	if t.rights == math.MinInt32 { // the broker doesn't say
		t.rights = 1<<rightRead | 1<<rightWrite
	}
	all, err := c.adm.DescribeTopicConfigs(ctx, name)
	if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil, explain(op, err)
	}
	for _, r := range all {
		if r.Err != nil {
			continue // the right DescribeConfigs is not given: the defaults hold
		}
		t.configs = map[string]string{}
		for _, entry := range r.Configs {
			t.configs[entry.Key] = entry.MaybeValue()
		}
		if n, err := strconv.ParseInt(t.configs["max.message.bytes"], 10, 64); err == nil && n > 0 {
			t.maxRecord = n
		}
	}
	return t, nil
}

// create makes a topic; one that is there already is as good.
func (c *cluster) create(ctx context.Context, name string, partitions int32, replication int16, configs map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	pointers := map[string]*string{}
	for k, v := range configs {
		pointers[k] = &v
	}
	_, err := c.adm.CreateTopic(ctx, partitions, replication, pointers, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return explain("make topic "+name, err)
	}
	return nil
}

// request sends a request to one broker.
func (c *cluster) request(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	return c.Broker(int(broker)).RetriableRequest(ctx, req)
}
