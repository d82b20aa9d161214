package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestKafkaKills kills the plugin, the broker and the host at seeded random moments: in the end readers of committed messages see what
// was served, each line once, no transaction is left open, and a host that has lost its ledger has nothing to do.
func TestKafkaKills(t *testing.T) {
	t.Parallel()
	broker := kafka.Start(t, kafka.Options{})
	rounds := chaosRounds(t)
	seed := uint64(20261101)
	if os.Getenv("SLUICE_CHAOS_ROUNDS") != "" {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := seededRig(t, vendorsim.Options{}, 20_000)
	r.source["limit"] = 300
	r.pipeline["retry"] = obj{"attempts": 1000, "max_backoff": "200ms"}
	r.sinks = []map[string]any{{"name": "bus", "type": "kafka", "config": obj{
		"brokers": []string{broker.Address}, "topic": "logs", "value": "raw", "create_topics": obj{"partitions": 3},
	}}}
	killed := map[string]int{}
	pause := func(c *command, most int) (runs bool) {
		select {
		case <-c.ended:
			return false
		case <-time.After(time.Duration(rnd.IntN(most)) * time.Millisecond):
			return true
		}
	}
	span := seedEnd.Sub(seedStart)
	for round := range rounds {
		// Each round has work of its own, so that there is something to kill.
		r.to = seedStart.Add(span * time.Duration(round+1) / time.Duration(rounds+1)).Truncate(time.Millisecond)
		r.write()
		c := r.prepare("run").start()
		parts := []string{"plugin", "broker"}
		rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		for _, part := range parts {
			if part == "plugin" {
				if all := c.plugins(); pause(c, 700) && len(all) > 0 {
					if syscall.Kill(all[0], syscall.SIGKILL) == nil {
						killed[part]++
					}
				}
				continue
			}
			if pause(c, 900) {
				killed[part]++
			}
			broker.Kill()
			broker.Restart(t)
		}
		if pause(c, 500) {
			killed["host"]++
			c.kill()
		} else if c.code != 0 {
			t.Fatalf("round %d: exit %d\n%s", round, c.code, tail(c.stderr.String()))
		}
	}
	t.Logf("killed at work: %v", killed)
	if killed["broker"] == 0 {
		t.Error("the broker was never killed at work")
	}
	r.to = seedEnd
	r.write()
	r.run(0, "run")
	r.mustHoldTopic(broker.Address, "logs")
	r.mustProve()
	mustRemove(t, filepath.Join(r.dir, "state"))
	again := r.run(0, "run")
	again.mustSay("nothing to do")
	r.mustHoldTopic(broker.Address, "logs")
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
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	adm := kadm.NewClient(c)
	left := map[int32]int64{} // a partition's last message is the end of a transaction
	for open := true; open; {
		// The broker answers the end of a transaction a moment before it writes it into the topic.
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err != nil {
			r.t.Fatal(err)
		}
		stable, err := adm.ListCommittedOffsets(ctx, topic)
		if err != nil {
			r.t.Fatalf("%v; a transaction is open", err)
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
				r.t.Fatalf("a transaction is open: stable %v, end %v", stable, ends)
			}
		}
	}
	for len(left) > 0 {
		page := c.PollFetches(ctx)
		if err := page.Err(); err != nil {
			r.t.Fatalf("%v; unread: %v", err, left)
		}
		for m := range page.RecordsAll() {
			if !m.Attrs.IsControl() {
				counts.add(fmt.Appendf(nil, "%s %s", m.Key, m.Value), -1)
				found++
			}
			if m.Offset+1 >= left[m.Partition] {
				delete(left, m.Partition)
			}
		}
	}
	missing, extra := 0, 0
	for _, n := range counts {
		missing, extra = missing+max(n, 0), extra+max(-n, 0)
	}
	if len(counts) > 0 {
		r.t.Fatalf("topic %s: %d lines served, %d found, %d missing, %d too many", topic, served, found, missing, extra)
	}
}
