package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// While the brokers take nothing, Append waits as soon as buffer_size is full, and goes on when they do; the caller's end ends the wait.
func TestAppendWaits(t *testing.T) {
	cluster := fakeCluster(t)
	r := newRig(cluster.ListenAddrs()[0])
	k := opened(t, r.config(map[string]any{"buffer_size": "1MiB", "compression": "none"})).(*Sink)
	s := sinktest.Hours("one", 0, 1)
	var bodies []string
	for i := range 300 {
		bodies = append(bodies, fmt.Sprintf("%d %s", i, strings.Repeat("x", 10_000)))
	}
	held, goOn := make(chan struct{}, 100), make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		cluster.SleepControl(func() {
			held <- struct{}{}
			<-goOn
		})
		return nil, nil, false
	})
	begin := func() *txn {
		t.Helper()
		tx, err := k.Begin(begun(t), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		return tx.(*txn)
	}
	tx := begin()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(begun(t))
	go func() { done <- sinktest.Append(ctx, tx, s, bodies) }()
	<-held
	select {
	case err := <-done:
		t.Fatalf("3 MB went into a buffer of one: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if n := tx.writer.rows; n > 150 {
		t.Errorf("%d rows of 10 kB are in a buffer of 1 MiB", n)
	}
	close(goOn)
	if err := tx.Abort(); err != nil {
		t.Error(err)
	}
	tx = begin()
	if err := sinktest.Append(begun(t), tx, s, bodies); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(begun(t), sinktest.Account(bodies)); err != nil {
		t.Fatal(err)
	}
}

// Transactions of many pages, aborted and committed, are read as they ended.
func TestLargeTransactions(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	k := opened(t, r.config(map[string]any{"buffer_size": "1MiB", "compression": "none"}))
	s := sinktest.Hours("one", 0, 1)
	var bodies []string
	for i := range 500 {
		bodies = append(bodies, fmt.Sprintf("%d %s", i, strings.Repeat("x", 10_000)))
	}
	tx, err := k.Begin(begun(t), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sinktest.Append(begun(t), tx, s, bodies), tx.Abort()); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t)
	if _, err := sinktest.Write(begun(t), k, s, bodies); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, bodies)
}

// The topic of a slice may come from its records.
func TestTopicByLogName(t *testing.T) {
	t.Parallel()
	r := newRig(fake(t))
	schema := arrow.NewSchema([]arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}, {Name: flow.ColLogName, Type: arrow.BinaryTypes.String}}, nil)
	c := r.config(map[string]any{"topic": "{labels.tenant}-{log_name}"})
	c.Labels = map[string]string{"tenant": "acme"}
	c.Streams[0].Schema = schema
	k := opened(t, c)
	for i, name := range []string{"web server", "app"} {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(fmt.Sprintf(`[{"body": "line", "log_name": %q}]`, name)))
		if err != nil {
			t.Fatal(err)
		}
		s := sinktest.Hours("one", i, i+1)
		tx, err := k.Begin(begun(t), s, 0, schema)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Append(begun(t), flow.Batch{Slice: s.ID, Records: rec}); err != nil {
			t.Fatal(err)
		}
		rec.Release()
		if _, err := tx.Commit(begun(t), sinktest.Account([]string{"line"})); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"acme-web_server", "acme-app"} {
		if all, err := r.read(topic); err != nil || len(all) != 1 {
			t.Errorf("topic %s has %d messages, %v", topic, len(all), err)
		}
	}
}

// More partitions than producers that are kept: each is fenced and read anew, and all of them commit.
func TestManyPartitions(t *testing.T) {
	t.Parallel()
	r := newRig(fake(t))
	k := opened(t, r.config(nil)).(*Sink)
	var want [][]string
	for hour := range 2 {
		for i := range 3 * maxIdle {
			s := sinktest.Hours(fmt.Sprint("log-", i), hour, hour+1)
			bodies := sinktest.Bodies(s, 2)
			if _, err := sinktest.Write(begun(t), k, s, bodies); err != nil {
				t.Fatal(err)
			}
			want = append(want, bodies)
		}
	}
	open := 0
	for _, l := range k.lanes {
		if l.client != nil {
			open++
		}
	}
	if open > maxIdle {
		t.Errorf("%d producers are open, %d may be", open, maxIdle)
	}
	r.wantBodies(t, want...)
	if parts, err := opened(t, r.config(nil)).(*Sink).Partitions(begun(t)); err != nil || len(parts) != 3*maxIdle {
		t.Errorf("%d partitions, %v", len(parts), err)
	}
}

// The broker's own compaction of the marker topic takes no marker: a sink that starts after it finds every commit.
func TestCompaction(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	adm := admin(t, r.address)
	makeTopic(t, adm, r.markers, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0", "min.compaction.lag.ms": "0",
	})
	k := opened(t, r.config(nil)).(*Sink)
	var all []flow.Slice
	for hour := range 6 {
		s := sinktest.Hours("one", hour, hour+1)
		all = append(all, s)
		tx, err := k.Begin(begun(t), s, 0, sinktest.Schema) // an aborted transaction before each that is committed
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(sinktest.Append(begun(t), tx, s, sinktest.Bodies(s, 1)), tx.Abort()); err != nil {
			t.Fatal(err)
		}
		if _, err := sinktest.Write(begun(t), k, s, sinktest.Bodies(s, 2)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := begun(t)
	put := 0
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		// A key of a stranger, again and again: when most of them are gone, the cleaner has been here, and segments roll meanwhile.
		for range 20 {
			put++
			if err := c.ProduceSync(ctx, &kgo.Record{Topic: r.markers, Key: []byte("filler"), Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		left, err := r.read(r.markers)
		if err != nil {
			t.Fatal(err)
		}
		if put > 60 && len(left) < put {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d messages are left: the topic was never compacted", len(left), put)
		}
	}
	fresh := opened(t, r.config(nil)).(sinks.Memory)
	for _, s := range all {
		if got, err := fresh.Lookup(ctx, s); err != nil || got.Slice != s {
			t.Errorf("%s: %v", s, err)
		}
	}
}
