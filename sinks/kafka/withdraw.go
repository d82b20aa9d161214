package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

var _ sinks.Withdrawer = (*Sink)(nil)

// forget is the value of a marker that withdraws commits of its day: what they covered is a gap again.
type forget struct {
	V         int            `json:"v"`
	Kind      string         `json:"kind"`
	Entry     uint64         `json:"entry"`
	Partition flow.Partition `json:"partition"`
	Day       string         `json:"day"`
	Entries   []uint64       `json:"entries"`
	Sluice    string         `json:"sluice"`
	At        time.Time      `json:"at"`
}

func forgetKey(sink string, p flow.Partition, day time.Time, number uint64) markerKey {
	selection := p.Selection
	return markerKey{
		Kind: kindForget, Sink: sink, Selection: &selection, Stream: p.Stream, Partition: p.Key, Day: day.Format(dayLayout), Entry: number,
	}
}

// parseForget reads the value of a marker that forgets, strictly, and compares it with its key.
func parseForget(k markerKey, value []byte) (forget, error) {
	var f forget
	if err := checkVersion(value); err != nil {
		return f, err
	}
	if err := strict(value, &f); err != nil {
		return f, err
	}
	if _, err := time.ParseInLocation(dayLayout, f.Day, time.UTC); err != nil {
		return f, err
	}
	if k.Selection == nil || *k.Selection != f.Partition.Selection || k.Stream != f.Partition.Stream || k.Partition != f.Partition.Key ||
		k.Day != f.Day || k.Entry != f.Entry || f.Kind != kindForget || f.Entry == 0 {
		return f, errors.New("its key doesn't fit")
	}
	if len(f.Entries) == 0 {
		return f, errors.New("it forgets nothing")
	}
	return f, nil
}

// Removes implements sinks.Withdrawer.
func (k *Sink) Removes() bool { return false }

// Left implements sinks.Withdrawer. Which messages a topic still has isn't known without reading it, so all are taken to be there unless
// it is gone or empty.
func (k *Sink) Left(ctx context.Context, r sinks.Receipt) ([]string, error) {
	topic, messages := k.covered.target(r.Slice)
	if messages == 0 || topic == "" {
		return nil, nil
	}
	starts, err := k.cluster.adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, explain("look at topic "+topic, err)
	}
	ends, err := k.cluster.adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, explain("look at topic "+topic, err)
	}
	for _, p := range starts[topic] {
		if e, ok := ends.Lookup(topic, p.Partition); ok && p.Err == nil && e.Err == nil && p.Offset < e.Offset {
			return []string{fmt.Sprintf("%d messages in topic %s, until its retention deletes them", messages, topic)}, nil
		}
	}
	return nil, nil
}

// Withdraw implements sinks.Withdrawer: the entry is a marker in a transaction of its own. Messages can't be deleted.
func (k *Sink) Withdraw(ctx context.Context, commits []sinks.Receipt, remove bool) (sinks.Receipt, error) {
	const op = "forget commits"
	switch {
	case len(commits) == 0:
		return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "no commit is named")
	case k.conf.ReadOnly:
		return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "the sink was opened to be read")
	case remove:
		return sinks.Receipt{}, fault.Errorf(fault.Config, op, "the messages of a topic can't be deleted one by one")
	}
	p, day := commits[0].Slice.Partition, commits[0].Slice.Day()
	l := k.lane(p)
	if err := l.lock(ctx); err != nil {
		return sinks.Receipt{}, err
	}
	defer l.unlock()
	if l.busy {
		return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "partition %s has a transaction open", p)
	}
	if err := k.own(ctx, l); err != nil {
		return sinks.Receipt{}, err
	}
	f := forget{
		V: version, Kind: kindForget, Entry: k.covered.number(p, day), Partition: p, Day: day.Format(dayLayout), Sluice: k.conf.Sluice,
		At: time.Now().UTC().Truncate(time.Millisecond),
	}
	for _, c := range commits {
		if c.Slice.Partition != p || !c.Slice.Day().Equal(day) {
			return sinks.Receipt{}, fault.Errorf(fault.Bug, op, "slice %s is of another partition or day than %s", c.Slice, commits[0].Slice)
		}
		f.Entries = append(f.Entries, c.Entry)
	}
	if err := k.covered.forgettable(f); err != nil {
		return sinks.Receipt{}, fault.New(fault.Config, op, "", err)
	}
	if err := l.client.BeginTransaction(); err != nil {
		k.drop(l)
		return sinks.Receipt{}, explain(op, err)
	}
	if err := k.step("write forget", func() error { return k.markForget(ctx, l.client, f) }); err != nil {
		k.drop(l) // the next fence takes the transaction back
		return sinks.Receipt{}, explain(op, err)
	}
	if err := k.step("end transaction", func() error { return finish(ctx, l.client, kgo.TryCommit) }); err != nil {
		k.drop(l)
		return sinks.Receipt{}, fault.New(fault.InDoubt, op, "", fmt.Errorf("%w: %w", sinks.ErrInDoubt, explain("end the transaction", err)))
	}
	if err := k.covered.forget(f); err != nil {
		k.drop(l)
		return sinks.Receipt{}, fault.New(fault.InDoubt, op, "", fmt.Errorf("%w: %w", sinks.ErrInDoubt, err))
	}
	r, _ := k.covered.receipt(p, day, f.Entry)
	return r, nil
}

func (k *Sink) markForget(ctx context.Context, client *kgo.Client, f forget) error {
	ctx, cancel := context.WithTimeout(ctx, 2*askWithin)
	defer cancel()
	day, err := time.ParseInLocation(dayLayout, f.Day, time.UTC)
	if err != nil {
		return err
	}
	key, err := encodeJSON(forgetKey(k.id, f.Partition, day, f.Entry))
	if err != nil {
		return err
	}
	value, err := encodeJSON(f)
	if err != nil {
		return err
	}
	return client.ProduceSync(ctx, &kgo.Record{
		Topic: k.set.MarkerTopic, Partition: k.markerPartition(f.Partition), Key: key, Value: value,
	}).FirstErr()
}

// number is that of the next entry of a day.
func (v *coverage) number(p flow.Partition, day time.Time) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return uint64(len(v.parts[p][day.Unix()])) + 1
}

// target is where a slice's messages went.
func (v *coverage) target(s flow.Slice) (topic string, messages uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.parts[s.Partition][s.Day().Unix()] {
		if e.id == s.ID && !e.forgotten && e.forgets == nil {
			return e.topic, e.messages
		}
	}
	return "", 0
}

// forgettable returns an error unless every number is that of a commit that stands. v.mu isn't held.
func (v *coverage) forgettable(f forget) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.checkForget(f)
}

func (v *coverage) checkForget(f forget) error {
	day, err := time.ParseInLocation(dayLayout, f.Day, time.UTC)
	if err != nil {
		return err
	}
	known := v.parts[f.Partition][day.Unix()]
	for i, n := range f.Entries {
		if n < 1 || n > uint64(len(known)) || known[n-1].forgets != nil || known[n-1].forgotten || slices.Contains(f.Entries[:i], n) {
			return fmt.Errorf("entry %d of %s on %s isn't a commit that stands", n, f.Partition, f.Day)
		}
	}
	return nil
}

// forget adds the marker of a forget. One that is known is as good; a number left out is an error: markers are missing.
func (v *coverage) forget(f forget) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	day, err := time.ParseInLocation(dayLayout, f.Day, time.UTC)
	if err != nil {
		return err
	}
	known := v.parts[f.Partition][day.Unix()]
	switch n := uint64(len(known)); {
	case f.Entry > n+1:
		return fmt.Errorf("entry %d of %s on %s is missing, but %d is there", n+1, f.Partition, f.Day, f.Entry)
	case f.Entry <= n && !slices.Equal(known[f.Entry-1].forgets, f.Entries):
		return fmt.Errorf("two markers have entry %d of %s on %s", f.Entry, f.Partition, f.Day)
	case f.Entry <= n:
		return nil
	}
	if err := v.checkForget(f); err != nil {
		return err
	}
	for _, n := range f.Entries {
		known[n-1].forgotten = true
	}
	v.parts[f.Partition][day.Unix()] = append(known, entry{from: day.UnixMilli(), to: day.Add(24 * time.Hour).UnixMilli(), at: f.At.UnixMilli(), forgets: f.Entries})
	return nil
}
