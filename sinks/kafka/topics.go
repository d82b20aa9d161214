package kafka

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"
)

// findTopic returns what is known of a topic, makes it if it may, and complains if there is none.
func (k *core) findTopic(ctx context.Context, name string, marker bool) (*topic, error) {
	k.topicsMu.Lock()
	defer k.topicsMu.Unlock()
	if t := k.topics[name]; t != nil {
		return t, nil
	}
	t, err := k.cluster.describe(ctx, name)
	if err != nil {
		return nil, err
	}
	if t == nil {
		if k.set.CreateTopics == nil {
			return nil, missingTopic(name, marker)
		}
		partitions, configs := k.set.CreateTopics.Partitions, map[string]string{}
		if marker {
			partitions, configs = markerPartitions, map[string]string{"cleanup.policy": "compact"}
		}
		err := k.step("make topic", func() error {
			return k.cluster.create(ctx, name, partitions, k.set.CreateTopics.Replication, configs)
		})
		if err != nil {
			return nil, err
		}
		if t, err = k.awaitTopic(ctx, name); err != nil {
			return nil, err
		}
	}
	k.topics[name] = t
	return t, nil
}

// awaitTopic waits until every broker that is asked knows a topic that was just made.
func (k *core) awaitTopic(ctx context.Context, name string) (*topic, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		t, err := k.cluster.describe(ctx, name)
		if err != nil || t != nil {
			return t, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, explain("find topic "+name, ctx.Err())
		}
	}
}

// forgets says after which age, by the times of records, the topic deletes them. Messages have their records' times, so a load of old records
// may not live long.
func (t *topic) forgets() (time.Duration, bool) {
	if !strings.Contains(t.configs["cleanup.policy"], "delete") || t.configs["message.timestamp.type"] == "LogAppendTime" {
		return 0, false
	}
	ms, err := strconv.ParseInt(t.configs["retention.ms"], 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// recordLimit is the most that a message of a topic may take.
func (k *core) recordLimit(t *topic) int64 {
	return min(t.maxRecord, int64(k.set.BufferSize), maxBatch)
}
