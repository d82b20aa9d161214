package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// payload is what the tool sends: some of the lines again and again, as many as one run of Sluice sends.
type payload struct {
	file         string
	lines, bytes int64 // of a run, line feeds left out
}

// payloadLines is how many lines the file has of which the tool draws.
const payloadLines = 20_000

// cases returns the cases that write into the broker, beside the broker's own tool.
func (k *broker) cases(p peers) []benchCase {
	sluice := func(key, title, settings string) benchCase {
		return benchCase{
			Key: key, Title: "`sluice run`, " + title, Group: groupKafka, Peak: true,
			run: func(ctx context.Context, b *bench, folder string) (r run, err error) {
				k.runs++
				sink := fmt.Sprintf(`type: kafka, config: {brokers: ["%s"], topic: %s, create_topics: {partitions: %d, replication: 1}, %s}`,
					k.address, k.topic(), kafkaPartitions, settings)
				source := fmt.Sprintf(sourceDownload, b.vendor.BaseURL, b.vendor.ReplayURL, b.vendor.Events)
				r, err = runSluice(ctx, b, folder, job{source: source, flow: wholeDay, sink: sink})
				r.Bytes = k.small.bytes
				return r, err
			},
			check: k.check,
		}
	}
	plain := sluice(keyKafka, "the same messages", "value: raw, key: none, headers: [], compression: none")
	out := []benchCase{
		{Key: keyKafkaTool, Title: "`kafka-producer-perf-test`", Group: groupKafka, run: k.runTool, check: k.check},
		plain,
		sluice(keyKafkaDefault, "as it comes: JSON, keys, headers, lz4", ""),
		again(plain),
	}
	if p.connectKafka {
		out = append(out, benchCase{
			Key: keyConnectKafka, Title: p.connectName + ", by lines, idempotent", Group: groupKafka, Optional: true, check: k.check,
			run: func(ctx context.Context, b *bench, folder string) (r run, err error) {
				k.runs++
				if err := k.makeTopic(ctx); err != nil {
					return r, err
				}
				r, err = p.connectTo(ctx, b, folder, b.vendor.Events, fmt.Sprintf(
					connectKafkaOutput+": {seed_brokers: [%q], topic: %s, idempotent_write: true, compression: none, batching: {count: 1000, period: 100ms}}", k.address, k.topic()))
				r.Bytes = k.small.bytes
				return r, err
			},
		})
	}
	return out
}

// topic is the present run's.
func (k *broker) topic() string { return fmt.Sprintf("bench-%d", k.runs) }

// prepare writes the tool's lines, which are those that Sluice will send.
func (k *broker) prepare(ctx context.Context, b *bench) error {
	folder := filepath.Join(b.folder, "payload")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	one := *b.vendor
	one.Log = one.Events
	with := *b
	with.vendor = &one
	if _, err := runCurl(ctx, &with, folder); err != nil {
		return err
	}
	all, err := os.ReadFile(filepath.Join(folder, curlOutput))
	if err != nil {
		return err
	}
	k.small.lines = int64(bytes.Count(all, []byte{'\n'}))
	k.small.bytes = int64(len(all)) - k.small.lines
	end := 0
	for range min(payloadLines, k.small.lines) {
		end += bytes.IndexByte(all[end:], '\n') + 1
	}
	k.small.file = filepath.Join(folder, "lines")
	return errors.Join(os.WriteFile(k.small.file, all[:max(0, end-1)], 0o600), os.Remove(filepath.Join(folder, curlOutput)))
}

// toolRate is the last line of what the tool prints.
var toolRate = regexp.MustCompile(`(?m)^\d+ records sent, ([0-9.]+) records/sec`)

// runTool sends as many lines by the broker's own tool, in one transaction that is longer than all of it takes, with larger buffers than it
// has by itself.
func (k *broker) runTool(ctx context.Context, _ *bench, _ string) (r run, err error) {
	k.runs++
	if err := k.makeTopic(ctx); err != nil {
		return r, err
	}
	var output bytes.Buffer
	cmd := k.class(ctx, "org.apache.kafka.tools.ProducerPerformance", "--topic", k.topic(), "--num-records", strconv.FormatInt(k.small.lines, 10),
		"--throughput", "-1", "--payload-file", k.small.file, "--transactional-id", k.topic(), "--transaction-duration-ms", "3600000",
		"--producer-props", "bootstrap.servers="+k.address, "acks=all", "linger.ms=5", "batch.size=131072", "buffer.memory=67108864")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := r.execute(cmd, "tool"); err != nil {
		return r, fmt.Errorf("kafka-producer-perf-test: %w\n%s", err, &output)
	}
	all := toolRate.FindAllSubmatch(output.Bytes(), -1)
	if all == nil {
		return r, fmt.Errorf("kafka-producer-perf-test named no rate:\n%s", &output)
	}
	rate, err := strconv.ParseFloat(string(all[len(all)-1][1]), 64)
	if err != nil {
		return r, err
	}
	r.Own = time.Duration(float64(k.small.lines) / rate * float64(time.Second))
	r.Bytes = k.small.bytes
	return r, nil
}

func (k *broker) makeTopic(ctx context.Context) error {
	_, err := kadm.NewClient(k.client).CreateTopic(ctx, kafkaPartitions, 1, nil, k.topic())
	return err
}

// check reads the topic as a consumer of committed records does, counts them, and deletes it.
func (k *broker) check(ctx context.Context, _ *bench, _ string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	reader, err := kgo.NewClient(kgo.SeedBrokers(k.address), kgo.ConsumeTopics(k.topic()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer reader.Close()
	var records, values int64
	for records < k.small.lines {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d of %d messages: %w", records, k.small.lines, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records++
			values += int64(len(r.Value))
		})
	}
	if records != k.small.lines || values == 0 {
		return fmt.Errorf("%d messages came, %d were sent", records, k.small.lines)
	}
	_, err = kadm.NewClient(k.client).DeleteTopic(ctx, k.topic())
	return err
}
