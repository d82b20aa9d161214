package pipeline

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// logB is a partition of another stream.
var logB = Partition{Partition: flow.Partition{Stream: "logs", Key: "a"}, Name: "A"}

// heldOf returns what a store holds of a partition.
func (st *fakeStore) heldOf(p flow.Partition) flow.Ranges {
	st.mu.Lock()
	defer st.mu.Unlock()
	var out flow.Ranges
	for _, r := range st.receipts {
		if r.Slice.Partition == p {
			out = out.Add(r.Slice.Range())
		}
	}
	return out
}

// TestStreamsOfSinks runs a pipeline of two streams into a sink for each of them and one for both.
func TestStreamsOfSinks(t *testing.T) {
	b := newBench(t, 3, 3)
	asked := span(-30, 40)
	b.edit = func(c *Config) {
		c.Partitions = []Partition{logA, logB}
		c.Sinks[0].Streams = []string{"events"}
		c.Sinks[1].Streams = []string{"logs"}
	}
	var read []string // of each committed slice
	b.during = func(e Event) {
		if e.Kind == Planned {
			read = append(read, e.Slice.Stream+" "+cmpSinks(e.Sinks))
		}
	}
	s, err := b.run(asked)
	if err != nil || !s.Complete() || s.Failed() {
		t.Fatalf("got %v, %+v", err, s)
	}
	want := [][2]flow.Ranges{{flow.NewRanges(asked), nil}, {nil, flow.NewRanges(asked)}, {flow.NewRanges(asked), flow.NewRanges(asked)}}
	for i, k := range b.sinks {
		got := [2]flow.Ranges{k.store.heldOf(logA.Partition), k.store.heldOf(logB.Partition)}
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Errorf("sink %d (-want +got):\n%s", i, diff)
		}
	}
	for _, r := range read {
		if r != "events s0,s2," && r != "logs s1,s2," {
			t.Errorf("a slice was read for %q", r)
		}
	}
	if got := b.source.reads; len(got) != s.Slices {
		t.Errorf("%d reads for %d slices: each is read once for all of its sinks", len(got), s.Slices)
	}
}

func cmpSinks(names []string) string {
	out := ""
	for _, n := range names {
		out += n + ","
	}
	return out
}

func TestStreamWithoutSink(t *testing.T) {
	b := newBench(t, 1, 1)
	b.edit = func(c *Config) {
		c.Partitions = []Partition{logA, logB}
		c.Sinks[0].Streams = []string{"events"}
	}
	if _, err := b.run(span(0, 10)); err == nil || len(b.source.reads) > 0 {
		t.Errorf("got %v and %d reads, want an error before any", err, len(b.source.reads))
	}
}

type sizedSink struct {
	sinks.Sink
	size int64
}

func (s sizedSink) Buffer() int64 { return s.size }

func TestMemoryOfStreams(t *testing.T) {
	all := []Sink{
		{Sink: sizedSink{size: 10}, Streams: []string{"a"}},
		{Sink: sizedSink{size: 7}, Streams: []string{"b"}},
		{Sink: sizedSink{size: 5}},
	}
	if got, want := Memory(1000, 3, 100, 0, []string{"a", "b"}, all), int64(1000+3*(100+15)); got != want {
		t.Errorf("got %d, want %d: no slice is of two streams", got, want)
	}
	if got, want := Buffers([]string{"b"}, all), int64(12); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// TestStreamsPredicted holds the forecast to the same rules.
func TestStreamsPredicted(t *testing.T) {
	b := newBench(t, 3, 2)
	var f Forecast
	b.edit = func(c *Config) {
		c.Partitions = []Partition{logA, logB}
		c.Sinks[0].Streams = []string{"events"}
		c.Sinks[1].Streams = []string{"logs"}
		var err error
		if f, err = Predict(context.Background(), *c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.run(span(0, 30)); err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"s0", "s1"} {
		if len(f.Partitions[n].Slices) == 0 {
			t.Fatalf("nothing is planned of partition %d", n)
		}
		for _, s := range f.Partitions[n].Slices {
			if diff := cmp.Diff([]string{want}, s.Sinks); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
}
