package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// sdkSource is a source as authors write them, served by plugins.Serve. Its partition keys are "batches COUNT LENGTH".
type sdkSource struct{}

func sdkDefinition() plugins.Definition {
	return plugins.Definition{
		Name: "sdk", Version: "1.0.0", Config: plugins.Schema(`{"type":"object"}`),
		Streams: []plugins.Stream{{Name: "events", Kind: plugins.Time, Schema: fakeSchema, PartitionBy: "log_id", Main: true, Granularity: time.Minute, Buffer: 7}},
		Open: func(context.Context, plugins.Config) (plugins.Source, error) {
			return &sdkSource{}, nil
		},
	}
}

func (*sdkSource) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	var out []flow.Slice
	for _, r := range g.Range().CutDays() {
		out = append(out, flow.NewSlice(g.Partition, r.From, r.To, 0))
	}
	return out, nil
}

func (*sdkSource) Partitions(context.Context, string) ([]plugins.PartitionKey, error) {
	return []plugins.PartitionKey{{Key: "batches 20 200"}}, nil
}

func (*sdkSource) Measure(_ context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error) {
	switch p.Key {
	case "nothing":
		return nil, fault.Errorf(fault.NotFound, "measure", "no such log")
	case "beside":
		return []flow.Measure{{Range: flow.Range{From: r.To, To: r.To.Add(time.Hour)}}}, nil
	}
	return []flow.Measure{{Range: flow.Range{From: r.From, To: r.From.Add(time.Hour)}, Rows: -1, Bytes: 7}, {Range: flow.Range{From: r.From.Add(time.Hour), To: r.To}, Rows: 0, Bytes: -1}}, nil
}

func (*sdkSource) Settle(string) time.Duration { return time.Hour }

func (*sdkSource) Read(ctx context.Context, s flow.Slice, out plugins.Emitter) error {
	var count, length int
	if _, err := fmt.Sscanf(s.Key, "batches %d %d", &count, &length); err != nil {
		return fault.New(fault.NotFound, "read", "", err)
	}
	if count < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	line := strings.Repeat("x", length)
	b := array.NewRecordBuilder(memory.DefaultAllocator, fakeSchema)
	defer b.Release()
	for range max(1, (1<<20)/length) {
		b.Field(0).(*array.TimestampBuilder).AppendNull()
		b.Field(1).(*array.StringBuilder).Append(line)
		b.Field(2).(*array.StringBuilder).Append("sdk")
	}
	rec := b.NewRecord()
	defer rec.Release()
	for range count {
		if err := out.Batch(ctx, rec); err != nil {
			return err
		}
	}
	return out.Dead(ctx, "unfit", strings.NewReader("a dead record"))
}

func startSDK(tb testing.TB, s *Supervisor, path string) *Plugin {
	tb.Helper()
	p, err := s.Start(tb.Context(), Spec{Name: "sdk", Path: path, Args: []string{"fake-plugin", "sdk"}})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := p.Configure(tb.Context(), Config{Settings: json.RawMessage(`{}`)})
	if err != nil {
		tb.Fatal(err)
	}
	if got := c.Settle["events"]; got != time.Hour {
		tb.Fatalf("events settle in %s, want 1h", got)
	}
	if s, _ := p.description.Stream("events"); s.Granularity != time.Minute || s.Buffer != 7 {
		tb.Fatalf("granularity %s, buffer %d; want 1m and 7", s.Granularity, s.Buffer)
	}
	return p
}

func TestServedBySDK(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{Budget: &fakeBudget{}})
	path := fakeSpec(t, "sdk").Path
	p := startSDK(t, s, path)
	slices, err := p.Plan(t.Context(), flow.Gap{Partition: flow.Partition{Stream: "events", Key: "batches 20 200"}, From: fakeDay, To: fakeDay.Add(24 * time.Hour)})
	if err != nil || len(slices) != 1 {
		t.Fatalf("plan = %v, %v", slices, err)
	}
	r, err := p.Read(t.Context(), slices[0], ReadOptions{Share: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	sum, dead, err := readAll(t.Context(), r)
	if !errors.Is(err, io.EOF) || sum != r.Manifest().Sum || sum.Rows != 20*(1<<20/200)+1 || len(dead) != 1 {
		t.Errorf("sum %+v, manifest %+v, dead %q, %v", sum, r.Manifest(), dead, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Read(t.Context(), fakeSlice("nothing"), ReadOptions{Share: 4 << 20}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a source's error = %v", err)
	}
	if _, err := p.Now(t.Context()); !errors.Is(err, ErrNoClock) {
		t.Errorf("Now = %v, want ErrNoClock", err)
	}
	if _, err := p.Check(t.Context()); !errors.Is(err, ErrNotSupported) {
		t.Errorf("Check = %v, want ErrNotSupported", err)
	}
	if err := p.Discover(t.Context(), func(Found) error { return nil }); !errors.Is(err, ErrNotSupported) {
		t.Errorf("Discover = %v, want ErrNotSupported", err)
	}
	asked := flow.Range{From: fakeDay, To: fakeDay.Add(3 * time.Hour)}
	measures, err := p.Measure(t.Context(), flow.Partition{Stream: "events", Key: "batches 20 200"}, asked)
	want := []flow.Measure{
		{Range: flow.Range{From: fakeDay, To: fakeDay.Add(time.Hour)}, Rows: -1, Bytes: 7},
		{Range: flow.Range{From: fakeDay.Add(time.Hour), To: asked.To}, Rows: 0, Bytes: -1},
	}
	if d := cmp.Diff(want, measures); d != "" || err != nil {
		t.Errorf("Measure: %v\n%s", err, d)
	}
	if got, err := p.Measure(t.Context(), flow.Partition{Stream: "events"}, flow.Range{From: asked.To, To: asked.To}); got != nil || err != nil {
		t.Errorf("Measure of nothing = %v, %v", got, err)
	}
	for key, kind := range map[string]fault.Kind{"nothing": fault.NotFound, "beside": fault.Bug} {
		if _, err := p.Measure(t.Context(), flow.Partition{Stream: "events", Key: key}, asked); fault.KindOf(err) != kind {
			t.Errorf("Measure of %q = %v, want %s", key, err, kind)
		}
	}
	stopped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	go func() {
		_, err := p.Read(ctx, fakeSlice("batches -1 1"), ReadOptions{Share: 4 << 20})
		stopped <- err
	}()
	if err := <-stopped; fault.KindOf(err) != fault.Transient {
		t.Errorf("a read past its deadline = %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestSDKByHand(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(fakeSpec(t, "sdk").Path, "fake-plugin", "sdk").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a plugin") {
		t.Errorf("started by hand: %q, %v", out, err)
	}
}

func BenchmarkStart(b *testing.B) {
	path := fakeSpec(b, "sdk").Path
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		p := startSDK(b, s, path)
		b.StopTimer()
		if err := p.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkRead(b *testing.B) {
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p := startSDK(b, s, fakeSpec(b, "sdk").Path)
	const batches = 200
	b.SetBytes(batches << 20)
	for b.Loop() {
		r, err := p.Read(b.Context(), fakeSlice(fmt.Sprintf("batches %d 200", batches)), ReadOptions{Share: 32 << 20})
		if err != nil {
			b.Fatal(err)
		}
		for {
			it, err := r.Next(b.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			r.Release(it)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
