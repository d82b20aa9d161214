package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	realkafka "github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) {
	testsize.Crowd()
	code := m.Run()
	if shared.end != nil {
		shared.end()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is the broker that most tests use, started by the first of them and ended by TestMain.
var shared struct {
	once   sync.Once
	broker *realkafka.Broker
	life   *life
	end    func()
}

// rig is a target for one test.
type rig struct {
	address string
	topic   string
	markers string
}

var rigs atomic.Int64

func newRig(address string) rig {
	n := rigs.Add(1)
	return rig{address: address, topic: fmt.Sprintf("logs-%d", n), markers: fmt.Sprintf("markers-%d", n)}
}

// fake returns the address of a cluster in this process.
func fake(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	return fakeCluster(t, opts...).ListenAddrs()[0]
}

// fakeCluster is fake for tests that answer in its place.
func fakeCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// config returns the sink's config with the rig's topics; settings are added to those.
func (r rig) config(settings map[string]any) sinks.Config {
	all := map[string]any{
		"brokers": []string{r.address}, "topic": r.topic, "marker_topic": r.markers, "create_topics": map[string]any{"partitions": 2, "replication": 1},
		"compression": "snappy", // lz4 takes blocks of 4 MiB for each batch, of which the race detector marks every byte
	}
	for k, v := range settings {
		if v == nil {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return sinks.Config{Settings: b, Pipeline: "prod", Source: "sinktest", Name: "bus", Streams: []sinks.Stream{sinktest.Stream()}, Sluice: "1.0.0"}
}

// read returns the messages of a topic that a reader of committed messages sees until the end that the topic has now.
func (r rig) read(topic string, opts ...kgo.Opt) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	opts = append([]kgo.Opt{kgo.SeedBrokers(r.address), kgo.DisableClientMetrics()}, opts...)
	c, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	adm := kadm.NewClient(c)
	if err := awaitDecided(ctx, adm); err != nil {
		return nil, err
	}
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil || !topics.Has(topic) {
		return nil, err
	}
	tp := &tape{cluster: &cluster{Client: c, adm: adm}, topic: topic, step: func(_ string, do func() error) error { return do() }, next: map[int32]int64{}}
	var out []*kgo.Record
	for p := range topics[topic].Partitions {
		if err := tp.read(ctx, p, func(rec *kgo.Record) error {
			out = append(out, rec)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// awaitDecided waits until readers can see what is decided: the broker answers the end of a transaction when it is in its own log, and
// writes it into the topics after that.
func awaitDecided(ctx context.Context, adm *kadm.Client) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		deciding, err := adm.ListTransactions(ctx, nil, []string{"PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
		if err != nil || len(deciding) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("transactions that are being decided: %v", deciding.TransactionalIDs())
		}
	}
}

// bodies returns the field body of the topic's JSON values.
func (r rig) bodies() ([]string, error) {
	all, err := r.read(r.topic)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range all {
		var v struct {
			Body string `json:"body"`
		}
		if err := json.Unmarshal(m.Value, &v); err != nil {
			return nil, fmt.Errorf("%q: %w", m.Value, err)
		}
		out = append(out, v.Body)
	}
	return out, nil
}

func (r rig) remote(stride int) sinktest.Remote {
	return sinktest.Remote{
		Open: func(step sinktest.RemoteStep) (sinks.Sink, error) {
			return open(context.Background(), r.config(nil), Step(step))
		},
		Look: func() (sinks.Sink, error) {
			c := r.config(nil)
			c.ReadOnly = true
			return Open(context.Background(), c)
		},
		Visible: r.bodies, Stride: stride,
	}
}

// broker returns the real broker that tests share.
func broker(t *testing.T) *realkafka.Broker {
	t.Helper()
	testsize.Whole(t, "the broker takes long to start, and a cluster in the test's process stands for it in the sample")
	realkafka.Needed(t) // each test that can't be done says why
	shared.once.Do(func() {
		shared.life = &life{}
		shared.end = shared.life.end
		shared.broker = realkafka.Start(shared.life.of(t), realkafka.Options{Secure: true})
	})
	if shared.broker == nil {
		t.Fatal("the broker didn't start: see the first test that uses it")
	}
	return shared.broker
}

// life is a testing.TB whose cleanups run when the binary ends, for what outlives the test that starts it.
type life struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
}

func (l *life) of(t testing.TB) testing.TB {
	l.TB = t
	return l
}

// Cleanup implements testing.TB.
func (l *life) Cleanup(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleanups = append(l.cleanups, f)
}

// TempDir implements testing.TB.
func (l *life) TempDir() string {
	dir, err := os.MkdirTemp("", "sluice-kafka-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Failed implements testing.TB: at the end there is no test to ask.
func (l *life) Failed() bool { return false }

func (l *life) end() {
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		l.cleanups[i]()
	}
}

func contains(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want it to say %q", err, w)
		}
	}
}
