package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func begun(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func opened(t *testing.T, c sinks.Config) sinks.Sink {
	t.Helper()
	k, err := Open(begun(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func admin(t *testing.T, address string) *kadm.Client {
	t.Helper()
	// What it remembers of topics is to be as fresh as what tests ask about.
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DisableClientMetrics(), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

func (r rig) wantBodies(t *testing.T, want ...[]string) {
	t.Helper()
	got, err := r.bodies()
	if diff := cmp.Diff(sorted(slices.Concat(want...)), sorted(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// Messages of every kind are read by somebody else's reader, with key, headers and time as the documentation says.
func TestMessages(t *testing.T) {
	t.Parallel()
	address := broker(t).Address
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 40)
	for _, value := range []string{valueJSON, valueRaw, valueAvro} {
		for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			if value != valueJSON && compression != "zstd" {
				continue
			}
			t.Run(value+" "+compression, func(t *testing.T) {
				r := newRig(address)
				k := opened(t, r.config(map[string]any{
					"value": value, "compression": compression, "headers": []string{"slice", "source", "stream", "partition", "digest"},
				}))
				if _, err := sinktest.Write(begun(t), k, s, bodies); err != nil {
					t.Fatal(err)
				}
				// The real consumer, not the sink's own reader.
				c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(r.topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableClientMetrics())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				var got []string
				var schema avro.Schema
				for len(got) < len(bodies) {
					page := c.PollFetches(begun(t))
					if err := page.Err(); err != nil {
						t.Fatal(err)
					}
					for m := range page.RecordsAll() {
						headers := map[string]string{}
						for _, h := range m.Headers {
							headers[h.Key] = string(h.Value)
						}
						body := ""
						switch value {
						case valueRaw:
							body = string(m.Value)
						case valueJSON:
							var v struct{ Body string }
							if err := json.Unmarshal(m.Value, &v); err != nil {
								t.Fatal(err)
							}
							body = v.Body
						case valueAvro:
							if schema == nil {
								schema = r.schema(t, headers["sluice.schema"])
							}
							var v map[string]any
							if err := avro.Unmarshal(schema, m.Value, &v); err != nil {
								t.Fatal(err)
							}
							body = unwrap(v["body"]).(string)
						}
						delete(headers, "sluice.schema")
						want := map[string]string{
							"sluice.slice": s.ID.String(), "sluice.source": "sinktest", "sluice.stream": "events", "sluice.partition": "one",
							"sluice.digest": flow.DigestOf([]byte(body)).String(),
						}
						if diff := cmp.Diff(want, headers); diff != "" || string(m.Key) != "one" || m.Timestamp.Before(s.From) || m.Timestamp.After(s.To) {
							t.Fatalf("key %q, time %s, headers (-want +got):\n%s", m.Key, m.Timestamp, diff)
						}
						got = append(got, body)
					}
				}
				if diff := cmp.Diff(bodies, got); diff != "" { // one key: in order too
					t.Errorf("bodies (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// schema returns the schema that a fingerprint stands for, as a reader finds it.
func (r rig) schema(t *testing.T, print string) avro.Schema {
	t.Helper()
	all, err := r.read(r.markers)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if string(m.Key) == fmt.Sprintf(`{"kind":"schema","schema":"%s"}`, print) {
			var v struct{ Schema json.RawMessage }
			if err := json.Unmarshal(m.Value, &v); err != nil {
				t.Fatal(err)
			}
			schema, err := avro.Parse(string(v.Schema))
			if err != nil {
				t.Fatal(err)
			}
			return schema
		}
	}
	t.Fatalf("the marker topic has no schema %q", print)
	return nil
}

// A record that the topic can't take is rejected, the others of its batch arrive.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	address := broker(t).Address
	for _, value := range []string{valueJSON, valueRaw, valueAvro, valueArrow} {
		r := newRig(address)
		adm := admin(t, address)
		makeTopic(t, adm, r.topic, map[string]string{"max.message.bytes": "20000"})
		k := opened(t, r.config(map[string]any{"value": value}))
		s := sinktest.Hours("one", 0, 1)
		bodies := []string{"first", strings.Repeat("x", 20000), "third", strings.Repeat("y", 17000), strings.Repeat("z", 30000)}
		tx, err := k.Begin(begun(t), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		b := sinktest.Batch(memory.DefaultAllocator, s, 0, bodies)
		rejected, err := tx.Append(begun(t), b)
		sinktest.Overwrite(b.Records)
		b.Records.Release()
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		var rows []int
		for _, x := range rejected {
			rows = append(rows, x.Row)
			if !strings.Contains(x.Reason, "larger than topic "+r.topic+" takes (20000)") {
				t.Errorf("%s: reason %q", value, x.Reason)
			}
		}
		if diff := cmp.Diff([]int{1, 4}, rows); diff != "" {
			t.Errorf("%s: rejected rows (-want +got):\n%s", value, diff)
		}
		a := sinktest.Account([]string{bodies[0], bodies[2], bodies[3]})
		a.Dead = sinktest.Account([]string{bodies[1], bodies[4]}).Delivered
		a.Read = a.Delivered.Plus(a.Dead)
		got, err := tx.Commit(begun(t), a)
		if err != nil || got.Dead != a.Dead {
			t.Fatalf("%s: %v", value, err)
		}
		if value == valueJSON {
			r.wantBodies(t, []string{bodies[0], bodies[2], bodies[3]})
		}
		again, err := opened(t, r.config(map[string]any{"value": value})).(sinks.Memory).Lookup(begun(t), s)
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", value, err, diff)
		}
	}
}

// A record larger than Kafka's usual million bytes is no trouble where the topic takes it.
func TestLargeRecord(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	makeTopic(t, admin(t, r.address), r.topic, map[string]string{"max.message.bytes": "4000000"})
	s := sinktest.Hours("one", 0, 1)
	bodies := []string{strings.Repeat("x", 3_500_000), "y", strings.Repeat("z", 1_500_000)}
	if _, err := sinktest.Write(begun(t), opened(t, r.config(nil)), s, bodies); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, bodies)
}

// Somebody else's transaction that stays open in the marker topic, and in the topic, stops nobody.
func TestForeignTransaction(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	k := opened(t, r.config(nil))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 5)
	if _, err := sinktest.Write(begun(t), k, s, bodies); err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.TransactionalID(r.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(markerPartitions) {
		if err := c.ProduceSync(begun(t), &kgo.Record{Topic: r.markers, Partition: p, Key: []byte("a"), Value: []byte("b")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	next := sinktest.Hours("one", 1, 2)
	if _, err := sinktest.Write(begun(t), k, next, nil); err != nil {
		t.Fatal(err)
	}
	// A slice whose marker is written and whose transaction is aborted, above the open one too.
	failed := sinktest.Hours("one", 2, 3)
	lost, err := open(begun(t), r.config(nil), func(name string, do func() error) error {
		err := do()
		if name == "write marker" {
			return errors.Join(sinktest.ErrLost, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sinktest.Write(begun(t), lost, failed, sinktest.Bodies(failed, 2)); !errors.Is(err, sinktest.ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
	if err := lost.Close(); err != nil {
		t.Error(err)
	}
	// A process that begins now finds both, the one below and the one above the open transaction, twice: nothing is taken twice.
	for range 2 {
		fresh := opened(t, r.config(nil)).(*Sink)
		for _, want := range []flow.Slice{s, next} {
			if got, err := fresh.Lookup(begun(t), want); err != nil || got.Slice != want {
				t.Errorf("%s: %v", want, err)
			}
		}
		if parts, err := fresh.Partitions(begun(t)); err != nil || len(parts) != 1 {
			t.Errorf("%v, %v", parts, err)
		}
		if _, err := fresh.Lookup(begun(t), failed); !errors.Is(err, sinks.ErrNotCommitted) {
			t.Errorf("%v", err)
		}
	}
	if err := c.EndTransaction(begun(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// makeTopic makes a topic of one partition with some settings of its own. A broker knows it a moment after it has said so.
func makeTopic(t *testing.T, adm *kadm.Client, name string, configs map[string]string) {
	t.Helper()
	all := map[string]*string{}
	for k, v := range configs {
		all[k] = &v
	}
	if _, err := adm.CreateTopic(begun(t), 1, 1, all, name); err != nil {
		t.Fatal(err)
	}
	awaitTopic(t, adm, name, true)
}

// awaitTopic waits until the broker knows a topic, or knows it no more.
func awaitTopic(t *testing.T, adm *kadm.Client, name string, there bool) {
	t.Helper()
	for ctx := begun(t); ; time.Sleep(20 * time.Millisecond) {
		all, err := adm.ListTopics(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if all.Has(name) == there {
			return
		}
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	address := broker(t).Address
	adm := admin(t, address)
	t.Run("none", func(t *testing.T) {
		r := newRig(address)
		for _, err := range []error{
			func() error { _, err := Open(begun(t), r.config(map[string]any{"create_topics": nil})); return err }(),
			func() error {
				_, err := Definition.Online(begun(t), r.config(map[string]any{"create_topics": nil}))
				return err
			}(),
		} {
			contains(t, err, "UNKNOWN_TOPIC_OR_PARTITION")
			if fault.KindOf(err) != fault.Config {
				t.Errorf("%v is of kind %s", err, fault.KindOf(err))
			}
		}
		said, err := Definition.Online(begun(t), r.config(nil))
		if err != nil || !strings.Contains(said, r.topic+" isn't there and may be made") {
			t.Errorf("%q, %v", said, err)
		}
		if topics, err := adm.ListTopics(begun(t)); err != nil || topics.Has(r.topic) || topics.Has(r.markers) {
			t.Errorf("the check has made topics, %v", err)
		}
	})
	t.Run("made", func(t *testing.T) {
		r := newRig(address)
		s := sinktest.Hours("A/b c", 5, 6)
		k := opened(t, r.config(map[string]any{"topic": r.topic + ".{stream}.{partition}.{date}-{hour}"}))
		if _, err := sinktest.Write(begun(t), k, s, sinktest.Bodies(s, 3)); err != nil {
			t.Fatal(err)
		}
		topics, err := adm.ListTopics(begun(t), r.topic+".events.A_b_c.2026-11-01-05", r.markers)
		if err != nil || topics.Error() != nil {
			t.Fatal(err, topics.Error())
		}
		if n := len(topics[r.topic+".events.A_b_c.2026-11-01-05"].Partitions); n != 2 {
			t.Errorf("%d partitions, want 2", n)
		}
		configs, err := adm.DescribeTopicConfigs(begun(t), r.markers)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
				t.Errorf("the marker topic's cleanup.policy is %s", c.MaybeValue())
			}
		}
	})
	for _, tt := range []struct {
		name    string
		configs map[string]string
		want    string
	}{
		{"a week", map[string]string{"retention.ms": "604800000"}, "deletes records that are older than 168h0m0s"},
		{"a week and compacted", map[string]string{"retention.ms": "604800000", "cleanup.policy": "compact,delete"}, "older than 168h0m0s"},
		{"a week after they came", map[string]string{"retention.ms": "604800000", "message.timestamp.type": "LogAppendTime"}, ""},
		{"for ever", map[string]string{"retention.ms": "-1"}, ""},
		{"compacted alone", map[string]string{"retention.ms": "604800000", "cleanup.policy": "compact"}, ""},
	} {
		t.Run("check says what it deletes, "+tt.name, func(t *testing.T) {
			r := newRig(address)
			makeTopic(t, adm, r.topic, tt.configs)
			said, err := Definition.Online(begun(t), r.config(nil))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" && strings.Contains(said, "deletes") || !strings.Contains(said, tt.want) {
				t.Errorf("%q, want %q", said, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name    string
		configs map[string]string
		ok      bool
	}{
		{"finite retention", map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}, false},
		{"finite size", map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "1000000"}, false},
		{"both", map[string]string{"cleanup.policy": "compact,delete"}, false},
		{"for ever", map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}, true},
		{"compacted", map[string]string{"cleanup.policy": "compact"}, true},
	} {
		t.Run("marker topic, "+tt.name, func(t *testing.T) {
			r := newRig(address)
			makeTopic(t, adm, r.markers, tt.configs)
			k, err := Open(begun(t), r.config(nil))
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				_ = k.Close()
				return
			}
			contains(t, err, "would forget")
			if _, err := Definition.Online(begun(t), r.config(nil)); fault.KindOf(err) != fault.Config {
				t.Errorf("online: %v", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	r := newRig("127.0.0.1:1")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_, err := Open(ctx, r.config(nil))
	if fault.KindOf(err) != fault.Transient {
		t.Errorf("%v is of kind %s", err, fault.KindOf(err))
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	_ = opened(t, r.config(nil)).Close()
	other := r.config(nil)
	other.Pipeline = "other"
	other.Streams = []sinks.Stream{sinktest.Stream()}
	other.Streams[0].Selection = flow.SelectionID{9}
	for name, c := range map[string]sinks.Config{"selection": other, "value": r.config(map[string]any{"value": "raw"})} {
		_, err := Open(begun(t), c)
		if !errors.Is(err, sinks.ErrOwned) {
			t.Errorf("%s: %v, want ErrOwned", name, err)
		}
		contains(t, err, `belongs to pipeline "prod"`)
	}
	more := r.config(map[string]any{"topic": r.topic})
	more.Streams = append([]sinks.Stream{}, sinktest.Stream())
	_ = opened(t, more).Close()
	// A later kind of marker of this sink stops it, a stranger's message doesn't.
	k := opened(t, r.config(nil)).(*Sink)
	c, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put := func(key string) {
		t.Helper()
		p := k.markerPartition(sinktest.Partition("one"))
		if err := c.ProduceSync(begun(t), &kgo.Record{Topic: r.markers, Partition: p, Key: []byte(key), Value: []byte("{}")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	put("anything")
	put(`{"kind":"unheard-of","sink":"someone else"}`)
	if _, err := k.Lookup(begun(t), sinktest.Hours("one", 0, 1)); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Error(err)
	}
	put(`{"kind":"unheard-of","sink":"` + k.id + `"}`)
	fresh := opened(t, r.config(nil)).(*Sink)
	_, err = fresh.Lookup(begun(t), sinktest.Hours("one", 0, 1))
	contains(t, err, "use a newer sluice")
}
