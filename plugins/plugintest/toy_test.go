package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

// The test binary is its own plugin: with toyEnv set it serves a toy source that breaks the promise it names.
const (
	toyEnv = "PLUGINTEST_TOY"
	secret = "s3cr3t-of-the-toy"
	// longLines breaks no promise: its frames are so large that they go by shared memory.
	longLines = "long lines"
)

func TestMain(m *testing.M) {
	if broken, ok := os.LookupEnv(toyEnv); ok {
		plugins.Serve(toy(broken, memory.DefaultAllocator))
		return
	}
	os.Exit(m.Run())
}

var toySchema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
	{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

func toy(broken string, alloc memory.Allocator) plugins.Definition {
	return plugins.Definition{
		Name: "toy", Version: "1.0.0", Config: plugins.Schema(`{"type":"object"}`),
		Streams: []plugins.Stream{{
			Name: "events", Kind: plugins.Time, Schema: toySchema, PartitionBy: "log_id", Main: true,
		}},
		Open: func(_ context.Context, cfg plugins.Config) (plugins.Source, error) {
			if broken == "leaks the secret" {
				cfg.Log.Info("opened", "settings", string(cfg.Settings))
			}
			return &toySource{broken: broken, alloc: alloc}, nil
		},
	}
}

// toySource has a record every ten seconds; slices of more than two hours are truncated.
type toySource struct {
	broken string
	alloc  memory.Allocator
	plans  atomic.Int64
	reads  atomic.Int64
}

func (s *toySource) Partitions(context.Context, string) ([]plugins.PartitionKey, error) {
	return []plugins.PartitionKey{{Key: "log-1", Name: "one"}}, nil
}

func (s *toySource) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	target := plugins.SliceTarget{Duration: time.Hour}
	if s.broken == "plans at random" {
		target.Duration += time.Duration(s.plans.Add(1)) * time.Minute
	}
	out := plugins.CutGap(g, target, plugins.CutOptions{})
	switch s.broken {
	case "leaves a hole":
		out = slices.Delete(out, 1, 2)
	case "overlaps":
		out[1] = flow.NewSlice(g.Partition, out[1].From.Add(-time.Millisecond), out[1].To, 0)
	case "plans beyond":
		last := out[len(out)-1]
		out[len(out)-1] = flow.NewSlice(g.Partition, last.From, last.To.Add(time.Minute), 0)
	case "plans nothing":
		out = nil
	}
	return out, nil
}

func (s *toySource) Measure(_ context.Context, _ flow.Partition, r flow.Range) ([]flow.Measure, error) {
	switch s.broken {
	case "measures another range":
		return []flow.Measure{{Range: flow.Range{From: r.To, To: r.To.Add(time.Hour)}, Rows: 1, Bytes: 1}}, nil
	case "fails to measure":
		return nil, errors.New("the vendor is out")
	}
	return []flow.Measure{{Range: r, Rows: int64(r.Duration() / (10 * time.Second)), Bytes: -1}}, nil
}

func (s *toySource) Read(ctx context.Context, sl flow.Slice, out plugins.Emitter) error {
	if s.broken == "fails with the secret" {
		return fault.Errorf(fault.Auth, "read", "key %s was refused", secret)
	}
	one := array.NewRecordBuilder(s.alloc, arrow.NewSchema([]arrow.Field{toySchema.Field(2), toySchema.Field(3)}, nil))
	defer one.Release()
	one.Field(0).(*array.StringBuilder).Append(sl.Key)
	one.Field(1).AppendNull()
	constants := one.NewRecord()
	defer constants.Release()
	if err := out.(plugins.Opener).Open(ctx, plugins.Opening{Constants: constants, VendorTime: sl.To.Add(time.Hour)}); err != nil {
		return err
	}
	b := array.NewRecordBuilder(s.alloc, arrow.NewSchema([]arrow.Field{toySchema.Field(0), toySchema.Field(1)}, nil))
	defer b.Release()
	reads := s.reads.Add(1)
	step := 10 * time.Second
	first := sl.From.Truncate(step)
	if first.Before(sl.From) {
		first = first.Add(step)
	}
	n := 0
	for at := first; at.Before(sl.To); at = at.Add(step) {
		line := fmt.Sprintf("%s line", at.Format(time.RFC3339))
		switch s.broken {
		case "differs from read to read":
			line += fmt.Sprint(reads)
		case longLines:
			line += strings.Repeat(".", 2<<10)
		}
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixNano()))
		b.Field(1).(*array.StringBuilder).Append(line)
		if n++; n%100 == 0 {
			if err := emit(ctx, b, out); err != nil {
				return s.ended(ctx, err)
			}
		}
	}
	if err := emit(ctx, b, out); err != nil {
		return s.ended(ctx, err)
	}
	if err := out.Dead(ctx, "too large", strings.NewReader(strings.Repeat("x", 3<<20))); err != nil {
		return s.ended(ctx, err)
	}
	if sl.To.Sub(sl.From) > 2*time.Hour {
		return plugins.Truncated(sl, uint64(n), 1000, plugins.SplitTruncated(sl, nil)...)
	}
	return nil
}

// ended returns err, or doesn't for a while if the source is one that ignores its context's end.
func (s *toySource) ended(ctx context.Context, err error) error {
	if s.broken == "ignores the end" {
		<-ctx.Done()
		<-time.After(1300 * time.Millisecond)
	}
	return err
}

func emit(ctx context.Context, b *array.RecordBuilder, out plugins.Emitter) error {
	rec := b.NewRecord()
	defer rec.Release()
	return out.Batch(ctx, rec)
}

func toyOptions() Options {
	from := time.Date(2026, 11, 1, 20, 0, 0, 0, time.UTC)
	p := flow.Partition{Stream: "events", Key: "log-1"}
	return Options{
		Settings: json.RawMessage(`{"api_key":"` + secret + `"}`),
		Secrets:  []string{secret},
		Gaps:     []flow.Gap{{Partition: p, From: from, To: from.Add(7 * time.Hour)}},
	}
}

func TestConformanceInProcess(t *testing.T) {
	alloc := memory.NewCheckedAllocator(plugins.NewAllocator())
	def := toy("", alloc)
	o := toyOptions()
	o.Definition, o.Alloc = &def, alloc
	Run(t, o)
}

func TestConformanceAsAProcess(t *testing.T) {
	o := toyOptions()
	o.Command, o.Env = toyCommand(t), []string{toyEnv + "=" + longLines}
	Run(t, o)
}

func toyCommand(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self}
}

// TestProcessesAsTheHostStartsThem: whatever standard input this process has, the plugin's is open, and where the system can share memory it has some.
func TestProcessesAsTheHostStartsThem(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer r.Close()
	own := os.Stdin
	os.Stdin = r // whose end would tell a plugin that its host is gone
	defer func() { os.Stdin = own }()
	o := toyOptions()
	o.Command, o.Env = toyCommand(t), []string{toyEnv + "=" + longLines}
	s, err := start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p := o.Gaps[0].Partition
	if _, err := s.readAll(t.Context(), flow.NewSlice(p, o.Gaps[0].From, o.Gaps[0].From.Add(time.Hour), 0)); err != nil {
		t.Error(err)
	}
	if shares := slices.Contains(s.description.GetFeatures(), wire.FeatureSharedMemory); shares != (runtime.GOOS == "linux") {
		t.Errorf("features %q on %s", s.description.GetFeatures(), runtime.GOOS)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// Each check must be able to fail: a source that breaks the promise is caught by it.
func TestBrokenSourcesAreCaught(t *testing.T) {
	tests := []struct{ broken, by, want string }{
		{"leaves a hole", "plan covers the gap exactly", "a hole or an overlap"},
		{"overlaps", "plan covers the gap exactly", "a hole or an overlap"},
		{"plans beyond", "plan covers the gap exactly", "beyond its end"},
		{"plans nothing", "plan covers the gap exactly", "no slices"},
		{"plans at random", "plan is pure", "two plans differ"},
		{"differs from read to read", "reading again gives the same manifest", "first {"},
		{"ignores the end", "the end of a context ends a read in time", "ignores the end"},
		{"measures another range", "measures are of what was asked", "doesn't meet"},
		{"fails to measure", "measures are of what was asked", "the vendor is out"},
		{"leaks the secret", "no secret on stderr or in errors", "stands on stderr"},
		{"fails with the secret", "no secret on stderr or in errors", "stands in an error"},
	}
	for _, tt := range tests {
		t.Run(tt.broken, func(t *testing.T) {
			def := toy(tt.broken, memory.DefaultAllocator)
			o := toyOptions()
			o.Definition = &def
			s, err := start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if tt.broken == "fails with the secret" {
				if err := checkManifest(t.Context(), s); err == nil {
					t.Error("a failing read went unnoticed")
				}
			}
			err = checkNamed(t, tt.by).run(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check %q: %v, want an error that holds %q", tt.by, err, tt.want)
			}
		})
	}
}

func checkNamed(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no check %q", name)
	}
	return checks[i]
}

func TestTruncatedReadsAreChecked(t *testing.T) {
	def := toy("", memory.DefaultAllocator)
	o := toyOptions()
	o.Definition = &def
	s, err := start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	p := o.Gaps[0].Partition
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r, err := s.readAll(t.Context(), flow.NewSlice(p, day, day.Add(24*time.Hour), 0))
	if err != nil {
		t.Fatal(err)
	}
	if r.truncated == nil || len(r.truncated.Into) != 8 {
		t.Fatalf("got %+v, want a read truncated into eight", r.truncated)
	}
}

func TestStartRefusesWhatItCantRun(t *testing.T) {
	def := toy("", memory.DefaultAllocator)
	for _, o := range []Options{{}, {Definition: &def, Command: []string{"x"}}, {Command: []string{"/nonexistent"}}} {
		if s, err := start(t.Context(), o); err == nil {
			t.Error("started")
			err = errors.Join(err, s.close())
			t.Log(err)
		}
	}
}
