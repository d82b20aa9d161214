package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

const (
	// markerPartitions is how many partitions a marker topic has that the sink makes.
	markerPartitions = 4
	// ownerPartition is where owners are, whatever else the topic has.
	ownerPartition = 0
)

// become makes the sink the owner of its target, or finds that it is.
func (k *Sink) become(ctx context.Context) error {
	t, err := k.findTopic(ctx, k.set.MarkerTopic, true)
	if err != nil {
		return err
	}
	if err := checkMarkerTopic(k.set.MarkerTopic, t); err != nil {
		return err
	}
	if k.timeout, err = k.cluster.maxTimeout(ctx); err != nil {
		return err
	}
	want := k.wanted(int32(t.partitions))
	have, err := k.readOwner(ctx)
	if err != nil {
		return err
	}
	if _, changed, err := merge(have, want); err != nil || !changed {
		if err == nil {
			k.markers = have.Markers
		}
		return err
	}
	// Two that become the owner at once: the later fences the earlier, reads what it did, and decides by that.
	client, err := k.fence(ctx, fmt.Sprintf("%s-%s-owner", k.set.IDPrefix, k.id), defaultRecord)
	if err != nil {
		return err
	}
	defer client.Close()
	if have, err = k.readOwner(ctx); err != nil {
		return err
	}
	o, changed, err := merge(have, want)
	if err != nil {
		return err
	}
	k.markers = o.Markers
	if !changed {
		return nil
	}
	return k.writeOwner(ctx, client, o)
}

func (k *Sink) wanted(partitions int32) owner {
	name, _ := constantTopic(k.conf, k.topic) // identity has filled it before
	o := owner{
		V: version, Kind: kindOwner, Topic: name, Value: k.set.Value, Markers: partitions, Streams: map[string]ownedStream{},
		Pipeline: k.conf.Pipeline, Sink: k.conf.Name, At: time.Now().UTC().Truncate(time.Millisecond),
	}
	for _, st := range k.conf.Streams {
		o.Streams[st.Name] = ownedStream{Selection: st.Selection}
	}
	return o
}

// readOwner returns the owner of the target, nil without one.
func (k *Sink) readOwner(ctx context.Context) (*owner, error) {
	var found *owner
	// The owner's partition is read from its start by a tape of its own: the sink's takes commits, which need the owner first.
	t := &tape{cluster: k.cluster, topic: k.set.MarkerTopic, step: k.step, next: map[int32]int64{}}
	err := t.read(ctx, ownerPartition, func(r *kgo.Record) error {
		key, ok := parseKey(r.Key)
		if !ok || key.Kind != kindOwner || key.Sink != k.id {
			return nil
		}
		o, err := parseOwner(r.Value)
		if err != nil {
			return fault.New(fault.Config, "read the sink's owner", "", fmt.Errorf("%s/%d at %d: %w", r.Topic, r.Partition, r.Offset, err))
		}
		found = &o
		return nil
	})
	return found, err
}

// merge returns the owner that is to stand, and whether that is a change. ErrOwned if want may not write where have is the owner.
func merge(have *owner, want owner) (o owner, changed bool, err error) {
	if have == nil {
		return want, true, nil
	}
	hint := fmt.Sprintf("give this pipeline a topic of its own: `topic: %s-%s` (--new-selection is for folders and buckets: topics hold one)",
		want.Topic, topicName(want.Pipeline))
	who := fmt.Sprintf("topic %s belongs to pipeline %q", have.Topic, have.Pipeline)
	if have.Value != want.Value {
		return o, false, fault.New(fault.Config, "own the topic", hint, fmt.Errorf("%w: %s, which writes values of %s, not of %s", sinks.ErrOwned, who, have.Value, want.Value))
	}
	for _, name := range slices.Sorted(maps.Keys(want.Streams)) {
		if first, known := have.Streams[name]; known && first != want.Streams[name] {
			return o, false, fault.New(fault.Config, "own the topic", hint, fmt.Errorf("%w: %s, which writes stream %s with selection %s, not %s: source, account, query or fields differ",
				sinks.ErrOwned, who, name, first.Selection.Short(), want.Streams[name].Selection.Short()))
		}
	}
	o = *have
	o.Streams = maps.Clone(have.Streams)
	if o.Streams == nil {
		o.Streams = map[string]ownedStream{}
	}
	for name, s := range want.Streams {
		if _, known := o.Streams[name]; !known {
			o.Streams[name], changed = s, true
		}
	}
	return o, changed, nil
}

// writeOwner commits the owner's marker.
func (k *Sink) writeOwner(ctx context.Context, client *kgo.Client, o owner) error {
	const op = "own the topic"
	cluster, err := k.cluster.clusterID(ctx)
	if err != nil {
		return err
	}
	o.Cluster = cluster
	key, err := encodeJSON(markerKey{Kind: kindOwner, Sink: k.id})
	if err != nil {
		return err
	}
	value, err := encodeJSON(o)
	if err != nil {
		return err
	}
	if err := client.BeginTransaction(); err != nil {
		return explain(op, err)
	}
	err = k.step("write owner", func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*askWithin)
		defer cancel()
		return client.ProduceSync(ctx, &kgo.Record{Topic: k.set.MarkerTopic, Partition: ownerPartition, Key: key, Value: value}).FirstErr()
	})
	if err == nil {
		err = k.step("end transaction", func() error { return finish(ctx, client, kgo.TryCommit) })
	}
	if err != nil {
		return explain(op, err) // whatever became of it, the next Open reads it
	}
	return nil
}

// checkMarkerTopic refuses a topic that forgets markers.
func checkMarkerTopic(name string, t *topic) error {
	if t.configs == nil {
		return nil // it may not be asked; check --online says so
	}
	policy := t.configs["cleanup.policy"]
	forgets := func(format string, args ...any) error {
		return fault.New(fault.Config, "check the marker topic",
			fmt.Sprintf("kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact", name),
			fmt.Errorf("%s would forget which slices are committed: %s", name, fmt.Sprintf(format, args...)))
	}
	if !strings.Contains(policy, "delete") {
		return nil // compacted: no two markers have one key
	}
	if policy != "delete" {
		return forgets("cleanup.policy is %s", policy)
	}
	var errs []error
	for _, key := range []string{"retention.ms", "retention.bytes"} {
		if n, err := strconv.ParseInt(t.configs[key], 10, 64); err == nil && n >= 0 {
			errs = append(errs, forgets("cleanup.policy is delete and %s is %d", key, n))
		}
	}
	return errors.Join(errs...)
}
