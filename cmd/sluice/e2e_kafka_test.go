package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/internal/realpart/toxiproxy"
)

// kafkaPrey is a kafka sink in a broker that is reached through a proxy.
type kafkaPrey struct {
	t      *testing.T // the broker ends with it
	broker *kafka.Broker
	proxy  *toxiproxy.Proxy
	rounds int
}

func startKafkaPrey(t *testing.T, proxies *toxiproxy.Server) prey {
	t.Helper()
	p := &kafkaPrey{t: t}
	p.broker = kafka.Start(t, kafka.Options{Through: func(listener string) string {
		p.proxy = proxies.Proxy(t, listener)
		return p.proxy.Address
	}})
	return p
}

func (p *kafkaPrey) sinks(_ *game, r *rig) func() {
	p.rounds++
	topic := fmt.Sprint("logs", p.rounds)
	// The readers of lz4 take blocks of 4 MiB for each of the many small batches, of which the race detector marks every byte: a minute a
	// round. sinks/kafka has all compressions.
	r.sinks = append(r.sinks, obj{"name": "bus", "type": "kafka", "config": obj{
		"brokers": []string{p.proxy.Address}, "topic": topic, "value": "raw", "compression": "snappy", "create_topics": obj{"partitions": 3},
		"marker_topic": topic + ".commits", "transactional_id_prefix": topic,
	}})
	return func() { r.mustHoldTopic(p.broker.Address, topic) }
}

func (p *kafkaPrey) blows() []blow {
	return serverBlows(p.proxy, p.broker.Kill, func() error { return p.broker.Again(p.t) })
}

// mustHoldTopic requires that a reader of committed messages sees what the simulator serves, once, and that no transaction is open.
func (r *rig) mustHoldTopic(address, topic string) {
	r.t.Helper()
	counts, served, found := lineCounts{}, 0, 0
	for _, id := range r.logs {
		for line := range r.sim.Lines(id, seedStart, r.to) {
			counts.add(append([]byte(id+" "), line...), 1)
			served++
		}
	}
	err := r.eachMessage(address, topic, func(key, value []byte) {
		counts.add(fmt.Appendf(nil, "%s %s", key, value), -1)
		found++
	})
	if err != nil {
		r.t.Fatal(err)
	}
	missing, extra := 0, 0
	for _, n := range counts {
		missing, extra = missing+max(n, 0), extra+max(-n, 0)
	}
	if len(counts) > 0 {
		r.t.Fatalf("topic %s: %d lines served, %d found, %d missing, %d too many", topic, served, found, missing, extra)
	}
}

// eachMessage calls f for each message that a reader of committed ones sees, once no transaction is open.
func (r *rig) eachMessage(address, topic string, f func(key, value []byte)) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer c.Close()
	adm := kadm.NewClient(c)
	left := map[int32]int64{} // a partition's last message is the end of a transaction
	for open := true; open; {
		// The broker answers the end of a transaction a moment before it writes it into the topic.
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		stable, err := adm.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return fmt.Errorf("%w; a transaction is open", err)
		}
		open = false
		ends.Each(func(o kadm.ListedOffset) {
			if s, _ := stable.Lookup(topic, o.Partition); s.Offset != o.Offset {
				open = true
			} else if o.Offset > 0 {
				left[o.Partition] = o.Offset
			}
		})
		if open {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("a transaction is open: stable %v, end %v", stable, ends)
			}
		}
	}
	for len(left) > 0 {
		page := c.PollFetches(ctx)
		if err := page.Err(); err != nil {
			return fmt.Errorf("%w; unread: %v", err, left)
		}
		for m := range page.RecordsAll() {
			if !m.Attrs.IsControl() {
				f(m.Key, m.Value)
			}
			if m.Offset+1 >= left[m.Partition] {
				delete(left, m.Partition)
			}
		}
	}
	return nil
}
