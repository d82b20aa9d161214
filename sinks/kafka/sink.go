// Package kafka is the sink that writes to topics of Apache Kafka, exactly once: the records of a slice and its marker are one
// transaction, and what the marker topic holds is what is covered.
//
// Each partition of a stream has one transactional ID. Whoever opens it fences the last producer of that ID, then reads the markers:
// from there on nobody else can commit a slice of the partition. The markers that were read are kept; a commit that may or may not have
// taken place is settled by doing the same again.
//
// With `delivery: idempotent` it is at least once and remembers nothing.
//
// It creates no topics unless told to, deletes nothing, and reads nothing but the marker topic, unless a slice is read back.
package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

// Definition is the kafka sink's.
var Definition = sinks.Definition{
	Type:    sinkName,
	Promise: "exactly once per slice for readers of committed messages",
	Config:  []byte(schema),
	Open: func(ctx context.Context, c sinks.Config) (sinks.Sink, error) {
		return Open(ctx, c)
	},
	Check: func(_ context.Context, c sinks.Config) error {
		_, _, err := parse(c)
		return err
	},
	Online:    online,
	NeedsTime: true,
	Buffer: func(c sinks.Config) (int64, error) {
		s, _, err := parse(c)
		return s.buffer(), err
	},
}

// Step is called around each named step that changes something at the cluster or reads it to decide: a seam for tests, which runs do.
type Step func(name string, do func() error) error

// core is what both ways of delivery share.
type core struct {
	set     settings
	conf    sinks.Config
	topic   target.Template
	log     *slog.Logger
	step    Step
	base    []kgo.Opt
	cluster *cluster
	id      string

	patience time.Duration // with a partition that no broker answers for, when it is read back

	topicsMu sync.Mutex
	topics   map[string]*topic
}

// Sink writes slices in transactions. See Open.
type Sink struct {
	*core
	timeout  time.Duration // of a transaction
	markers  int32         // over how many partitions markers are spread
	covered  *coverage
	tape     *tape
	tapeTurn chan struct{} // holds one token while the tape is read

	mu     sync.Mutex
	lanes  map[flow.Partition]*lane
	clock  uint64
	open   map[*txn]struct{}
	known  map[string]bool // schemas that have a marker, by fingerprint
	closed bool
}

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Memory    = (*Sink)(nil)
	_ sinks.Lister    = (*Sink)(nil)
	_ sinks.Sizer     = (*Sink)(nil)
	_ sinks.Serial    = (*Sink)(nil)
	_ sinks.Deadliner = (*Sink)(nil)
)

// Open connects to the cluster and becomes the owner of the target, or returns sinks.ErrOwned. With delivery idempotent what it returns
// has no sinks.Memory.
func Open(ctx context.Context, c sinks.Config) (sinks.Sink, error) {
	return open(ctx, c, nil)
}

func open(ctx context.Context, c sinks.Config, step Step) (sinks.Sink, error) {
	k, err := newCore(ctx, c, step)
	if err != nil {
		return nil, err
	}
	if k.set.Delivery == deliverIdempotent {
		s, err := openStream(k)
		if err != nil {
			k.cluster.Close()
			return nil, err
		}
		return s, nil
	}
	s := &Sink{
		core: k, covered: newCoverage(), tapeTurn: make(chan struct{}, 1), lanes: map[flow.Partition]*lane{}, open: map[*txn]struct{}{},
		known: map[string]bool{},
	}
	s.tape = &tape{cluster: k.cluster, topic: k.set.MarkerTopic, step: k.step, next: map[int32]int64{}}
	if c.ReadOnly {
		err = s.visit(ctx)
	} else {
		err = s.become(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// newCore connects.
func newCore(ctx context.Context, c sinks.Config, step Step) (*core, error) {
	set, t, err := parse(c)
	if err != nil {
		return nil, err
	}
	k := &core{set: set, conf: c, topic: t, log: c.Log, step: step, patience: askWithin, topics: map[string]*topic{}}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.step == nil {
		k.step = func(_ string, do func() error) error { return do() }
	}
	if k.base, err = set.baseOptions(c); err != nil {
		return nil, err
	}
	if k.cluster, err = set.connect(c); err != nil {
		return nil, err
	}
	cluster, err := k.cluster.clusterID(ctx)
	if err == nil {
		k.id, err = identity(set, c, cluster, t)
	}
	if err != nil {
		k.cluster.Close()
		return nil, err
	}
	return k, nil
}

// identity names what a sink writes to: the cluster, the topics, and the topic that remembers.
func identity(s settings, c sinks.Config, cluster string, t target.Template) (string, error) {
	name, err := constantTopic(c, t)
	if err != nil {
		return "", err
	}
	memory := s.MarkerTopic
	if s.Delivery == deliverIdempotent {
		memory = "" // no topic may have the name, so the two never meet
	}
	h := sha256.Sum256(fmt.Appendf(nil, "sluice-kafka-sink\x00%s\x00%s\x00%s", cluster, name, memory))
	return hex.EncodeToString(h[:16]), nil
}

// constantTopic fills in what is the same for every slice of the sink, so that two pipelines with one template have their own topics.
func constantTopic(c sinks.Config, t target.Template) (string, error) {
	v := target.Values{
		Pipeline: c.Pipeline, Source: c.Source, Labels: c.Labels, Stream: "{stream}", Partition: "{partition}", PartitionBy: "{partition_by}",
		LogName: "{log_name}", Date: "{date}", Hour: "{hour}",
	}
	name, err := t.Fill(v, target.Plain)
	if err != nil {
		return "", fault.New(fault.Config, "name the topic", "", err)
	}
	return name, nil
}

// Identity implements sinks.Sink: it is the same for everyone who writes to the same topics of the same cluster with the same marker topic.
func (k *core) Identity() string { return k.id }

// Buffer implements sinks.Sizer.
func (k *core) Buffer() int64 { return k.set.buffer() }

// Serial implements sinks.Serial: one transactional ID has one transaction.
func (k *Sink) Serial() bool { return true }

// Deadline implements sinks.Deadliner: the broker ends a transaction after its timeout.
func (k *Sink) Deadline() time.Duration { return k.timeout }

func errClosed() error { return fault.Errorf(fault.Bug, "use the sink", "it is closed") }

func (k *Sink) checkOpen() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errClosed()
	}
	return nil
}

// markerPartition says where the markers of a partition are.
func (k *Sink) markerPartition(p flow.Partition) int32 {
	h := xxh3.HashString(fmt.Sprintf("%s\x00%s\x00%s\x00%s", k.id, p.Selection, p.Stream, p.Key))
	return int32(h % uint64(k.markers))
}

// readMarkers reads what was added to a partition of the marker topic since it was last read.
func (k *Sink) readMarkers(ctx context.Context, partition int32) error {
	select {
	case k.tapeTurn <- struct{}{}:
		defer func() { <-k.tapeTurn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return k.tape.read(ctx, partition, func(r *kgo.Record) error {
		if err := k.take(r); err != nil {
			return fault.New(fault.Config, "read the marker topic", "the marker topic must keep every marker: was it cut, or written to by hand?",
				fmt.Errorf("%s/%d at %d: %w", r.Topic, r.Partition, r.Offset, err))
		}
		return nil
	})
}

// take looks at one message of the marker topic.
func (k *Sink) take(r *kgo.Record) error {
	key, ok := parseKey(r.Key)
	if !ok || key.Sink != k.id || key.Kind == kindOwner {
		return nil
	}
	if key.Kind == kindForget {
		f, err := parseForget(key, r.Value)
		if err != nil {
			return err
		}
		return k.covered.forget(f)
	}
	if key.Kind != kindCommit {
		return fmt.Errorf("unknown kind %q: use a newer sluice", key.Kind)
	}
	c, err := parseCommit(key, r.Value)
	if err != nil {
		return err
	}
	return k.covered.apply(c)
}

// Begin implements sinks.Sink. A partition has one transaction at a time.
func (k *Sink) Begin(ctx context.Context, s flow.Slice, _ uint32, schema *arrow.Schema) (sinks.Txn, error) {
	if k.conf.ReadOnly {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "the sink was opened to be read")
	}
	if err := errors.Join(k.checkOpen(), s.Validate(), k.checkStream(s)); err != nil {
		return nil, err
	}
	enc, err := newValues(k.set, schema, k.partitionBy(s.Stream))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
	}
	l := k.lane(s.Partition)
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer l.unlock()
	if l.busy {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "partition %s has a transaction open", s.Partition)
	}
	if err := k.own(ctx, l); err != nil {
		return nil, err
	}
	if err := k.covered.conflict(s); err != nil {
		return nil, err
	}
	t := &txn{sink: k, lane: l, writer: newWriter(k.core, s, enc)}
	t.writer.client, t.writer.fit = l.client, t.fit
	if err := t.begin(ctx); err != nil {
		k.drop(l)
		return nil, explain("begin a transaction", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed()
	}
	l.busy = true
	k.open[t] = struct{}{}
	return t, nil
}

func (k *core) partitionBy(stream string) string {
	for _, st := range k.conf.Streams {
		if st.Name == stream {
			return st.PartitionBy
		}
	}
	return ""
}

func (k *core) checkStream(s flow.Slice) error {
	for _, st := range k.conf.Streams {
		if st.Name == s.Stream && st.Selection == s.Selection {
			return nil
		}
	}
	return fault.Errorf(fault.Bug, "begin a slice", "slice %s has selection %s, for which the sink wasn't opened", s, s.Selection.Short())
}

// Lookup implements sinks.Memory. After ErrNotCommitted no earlier attempt at the slice, of this process or another, can become visible.
func (k *Sink) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	if err := s.Validate(); err != nil {
		return sinks.Receipt{}, err
	}
	l := k.lane(s.Partition)
	if err := l.lock(ctx); err != nil {
		return sinks.Receipt{}, err
	}
	defer l.unlock()
	if err := k.learn(ctx, l); err != nil {
		return sinks.Receipt{}, err
	}
	if r, ok := k.covered.lookup(s); ok {
		return r, nil
	}
	return sinks.Receipt{}, fmt.Errorf("slice %s: %w", s, sinks.ErrNotCommitted)
}

// Committed implements sinks.Memory.
func (k *Sink) Committed(ctx context.Context, g flow.Gap, after func(day time.Time) uint64) iter.Seq2[sinks.Receipt, error] {
	return func(yield func(sinks.Receipt, error) bool) {
		l := k.lane(g.Partition)
		if err := l.lock(ctx); err != nil {
			yield(sinks.Receipt{}, err)
			return
		}
		err := k.learn(ctx, l)
		l.unlock()
		k.rest()
		if err != nil {
			yield(sinks.Receipt{}, err)
			return
		}
		for _, day := range k.covered.days(g.Partition, g.Range()) {
			n := uint64(0)
			if after != nil {
				n = after(day)
			}
			for {
				n++
				r, ok := k.covered.receipt(g.Partition, day, n)
				if !ok {
					break
				}
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Partitions implements sinks.Lister.
func (k *Sink) Partitions(ctx context.Context) ([]flow.Partition, error) {
	if err := k.checkOpen(); err != nil {
		return nil, err
	}
	for p := range k.markers {
		if err := k.readMarkers(ctx, p); err != nil {
			return nil, err
		}
	}
	return k.covered.partitions(), nil
}

// Strays implements sinks.Lister. There are none: a message that no marker names was never committed.
func (k *Sink) Strays(context.Context) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}

// Close implements sinks.Sink.
func (k *Sink) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed = true
	open := make([]*txn, 0, len(k.open))
	for t := range k.open {
		open = append(open, t)
	}
	lanes := make([]*lane, 0, len(k.lanes))
	for _, l := range k.lanes {
		lanes = append(lanes, l)
	}
	k.mu.Unlock()
	var errs []error
	for _, t := range open {
		errs = append(errs, t.Abort())
	}
	for _, l := range lanes {
		l.turn <- struct{}{} // whoever has it is bounded by the times of this package
		k.drop(l)
		l.unlock()
	}
	k.cluster.Close()
	return errors.Join(errs...)
}
