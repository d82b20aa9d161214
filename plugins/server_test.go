package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/internal/pace"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bodySchema = arrow.NewSchema([]arrow.Field{
	{Name: "body", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "source", Type: arrow.BinaryTypes.String},
}, nil)

// fakeSource reads by a function.
type fakeSource struct {
	read func(ctx context.Context, s flow.Slice, out Emitter) error
}

func (f *fakeSource) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	return CutGap(g, SliceTarget{}, CutOptions{}), nil
}

func (f *fakeSource) Read(ctx context.Context, s flow.Slice, out Emitter) error {
	return f.read(ctx, s, out)
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveFake serves a source over a unix socket with short times, and returns a client's connection and the log.
func serveFake(t *testing.T, read func(context.Context, flow.Slice, Emitter) error) (*grpc.ClientConn, *logBuffer) {
	t.Helper()
	return serveSharing(t, nil, nil, read)
}

// serveSharing is serveFake with memory that plugin and host have mapped.
func serveSharing(t *testing.T, theirs, ours *shm.Memory, read func(context.Context, flow.Slice, Emitter) error) (*grpc.ClientConn, *logBuffer) {
	t.Helper()
	def := Definition{
		Name: "fake", Version: "1", Config: Schema(`{}`),
		Streams: []Stream{{Name: "events", Kind: Time, Schema: bodySchema, Main: true}},
		Open:    func(context.Context, Config) (Source, error) { return &fakeSource{read: read}, nil },
	}
	log := &logBuffer{}
	s, err := NewServer(def, newLogger(log, slog.LevelInfo), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.shared = theirs
	s.pace = pace.Pace{Silence: 50 * time.Millisecond, Stop: 100 * time.Millisecond, Cancel: 100 * time.Millisecond}
	conn := listen(t, ours, func(g *grpc.Server) { s.Register(g) }, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := v1.NewPluginServiceClient(conn).Configure(t.Context(), &v1.ConfigureRequest{ProtocolVersion: 1, Features: wire.Features(ours)}); err != nil {
		t.Fatal(err)
	}
	return conn, log
}

// listen serves on a socket until the test ends.
func listen(t *testing.T, shared *shm.Memory, register func(*grpc.Server), stopped func()) *grpc.ClientConn {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(wire.ServerOptions(), grpc.Creds(wire.SameUser()))...)
	register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+socket, append(wire.DialOptions(shared), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stopped()
	})
	return conn
}

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func fakeSlice() flow.Slice {
	return flow.NewSlice(flow.Partition{Stream: "events"}, midnight, midnight.Add(time.Hour), 0)
}

// drive opens a read, grants credit and returns what came until the end.
func drive(t *testing.T, conn *grpc.ClientConn, grant uint64, then ...*v1.ReadRequest) (batches []uint64, last *v1.ReadResponse, waits []string, err error) {
	t.Helper()
	stream, err := v1.NewSourceServiceClient(conn).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	requests := []*v1.ReadRequest{{Message: &v1.ReadRequest_Open{Open: &v1.Open{Slice: wire.SliceToProto(fakeSlice())}}}}
	if grant > 0 {
		requests = append(requests, &v1.ReadRequest{Message: &v1.ReadRequest_Grant{Grant: &v1.Grant{Bytes: grant}}})
	}
	for _, r := range append(requests, then...) {
		// io.EOF: the plugin has ended the stream already; why, the next RecvMsg tells.
		if err := stream.Send(r); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	for {
		var in wire.InMessage
		if err := stream.RecvMsg(&in); err != nil {
			return batches, last, waits, err
		}
		switch {
		case in.Batch != nil:
			batches = append(batches, in.Batch.Rows)
		case in.Response.GetWaiting() != nil:
			waits = append(waits, in.Response.GetWaiting().GetWhy())
		case in.Response != nil && in.Response.GetOpened() == nil:
			last = in.Response
		}
		in.Release()
	}
}

func bodies(alloc memory.Allocator, rows, size int) arrow.Record {
	b := array.NewRecordBuilder(alloc, bodySchema)
	defer b.Release()
	line := strings.Repeat("x", size)
	for range rows {
		b.Field(0).(*array.StringBuilder).Append(line)
		b.Field(1).(*array.StringBuilder).Append("fake")
	}
	return b.NewRecord()
}

func TestBatchesAreCutIntoFrames(t *testing.T) {
	alloc := memory.NewCheckedAllocator(NewAllocator())
	conn, _ := serveFake(t, func(ctx context.Context, _ flow.Slice, out Emitter) error {
		for _, r := range []struct{ rows, size int }{{10, 100}, {10_000, 1000}, {1, 16 << 20}, {70_000, 0}, {0, 0}} {
			rec := bodies(alloc, r.rows, r.size)
			err := out.Batch(ctx, rec)
			rec.Release()
			if err != nil {
				return err
			}
		}
		out.(Counter).Count("missing_final_newline", 2)
		return out.Dead(ctx, "too large", strings.NewReader(strings.Repeat("d", 2<<20)))
	})
	rows, last, _, err := drive(t, conn, 1<<40)
	if last.GetDone() == nil {
		t.Fatalf("no Done: %v", err)
	}
	if len(rows) != 1+3+1+2 || rows[0] != 10 || rows[4] != 1 {
		t.Errorf("frames of %v rows", rows)
	}
	sum, err := wire.SumFromProto(last.GetDone().GetSum())
	if err != nil || sum.Rows != 80_012 || sum.Bytes != 1000+10_000_000+16<<20+2<<20 {
		t.Errorf("manifest %+v, %v", sum, err)
	}
	if got := last.GetDone().GetCounters()["missing_final_newline"]; got != 2 {
		t.Errorf("counter = %d", got)
	}
	alloc.AssertSize(t, 0)
}

func TestFramesAreNeverLongerThanTheLimit(t *testing.T) {
	rec := bodies(memory.DefaultAllocator, 1000, 997)
	for _, most := range []int64{1500, 5000, 100_000, 1 << 30} {
		for from := 0; from < 1000; {
			to := nextCut(rec, from, most, wire.MaxRows)
			if size := wire.SizeOf(rec, from, to); to <= from || size > most {
				t.Fatalf("limit %d: rows [%d, %d) take %d bytes", most, from, to, size)
			}
			from = to
		}
	}
	if to := nextCut(rec, 3, 10, wire.MaxRows); to != 4 {
		t.Errorf("a record beyond the limit travels with others: [3, %d)", to)
	}
	if to := nextCut(rec, 3, 1<<30, 7); to != 10 {
		t.Errorf("a frame of at most 7 rows beside long constants: [3, %d)", to)
	}
}

func TestReadsThatFail(t *testing.T) {
	half := flow.NewSlice(fakeSlice().Partition, midnight, midnight.Add(time.Minute), 0)
	tests := []struct {
		name string
		read func(ctx context.Context, s flow.Slice, out Emitter) error
		kind fault.Kind
		want string
	}{
		{"a classified error", func(context.Context, flow.Slice, Emitter) error {
			return fault.New(fault.Auth, "get", "check the key", errors.New("401"))
		}, fault.Auth, "get: 401"},
		{"a panic", func(context.Context, flow.Slice, Emitter) error { panic("boom") }, fault.Bug, "panicked: boom"},
		{"a schema of its own", func(ctx context.Context, _ flow.Slice, out Emitter) error {
			rec := bodies(memory.DefaultAllocator, 1, 1)
			one := array.NewRecord(arrow.NewSchema(rec.Schema().Fields()[:1], nil), rec.Columns()[:1], 1)
			return out.Batch(ctx, one)
		}, fault.Bug, "columns"},
		{"a null where none may be", func(ctx context.Context, _ flow.Slice, out Emitter) error {
			b := array.NewRecordBuilder(memory.DefaultAllocator, bodySchema)
			b.Field(0).AppendNull()
			b.Field(1).AppendNull()
			return out.Batch(ctx, b.NewRecord())
		}, fault.Bug, "nulls"},
		{"an error that it swallows", func(ctx context.Context, _ flow.Slice, out Emitter) error {
			_ = out.Dead(ctx, "x", &brokenReader{})
			return nil
		}, fault.Unknown, "went on after it had failed"},
		{"opened late", func(ctx context.Context, _ flow.Slice, out Emitter) error {
			_ = out.Batch(ctx, bodies(memory.DefaultAllocator, 1, 1))
			return out.(Opener).Open(ctx, Opening{})
		}, fault.Bug, "opened twice"},
		{"a constant body", func(ctx context.Context, _ flow.Slice, out Emitter) error {
			rec := bodies(memory.DefaultAllocator, 1, 1)
			one := array.NewRecord(arrow.NewSchema(rec.Schema().Fields()[:1], nil), rec.Columns()[:1], 1)
			return out.(Opener).Open(ctx, Opening{Constants: one})
		}, fault.Bug, "part of the digest"},
		{"parts with a hole", func(_ context.Context, s flow.Slice, _ Emitter) error {
			return Truncated(s, 1, 1, half, flow.NewSlice(s.Partition, half.To.Add(time.Minute), s.To, 0))
		}, fault.Bug, "doesn't begin where"},
		{"parts that end early", func(_ context.Context, s flow.Slice, _ Emitter) error {
			return Truncated(s, 1, 1, half, flow.NewSlice(s.Partition, half.To, s.To.Add(-time.Minute), 0))
		}, fault.Bug, "end at"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, log := serveFake(t, tt.read)
			_, last, _, err := drive(t, conn, 1<<40)
			err = wire.FromStatus(err)
			if last != nil || fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v of kind %s; want %q of kind %s", last, err, fault.KindOf(err), tt.want, tt.kind)
			}
			if tt.name == "a panic" {
				if !strings.Contains(log.String(), "server_test.go") {
					t.Errorf("no stack in the log: %s", log)
				}
				if _, err := v1.NewPluginServiceClient(conn).Describe(t.Context(), &v1.DescribeRequest{}); err != nil {
					t.Errorf("the process is gone: %v", err)
				}
			}
		})
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, errors.New("disk") }

func TestTruncatedReads(t *testing.T) {
	conn, _ := serveFake(t, func(_ context.Context, s flow.Slice, _ Emitter) error {
		return Truncated(s, 9, 99, SplitTruncated(s, nil)...)
	})
	_, last, _, _ := drive(t, conn, 1)
	if got := last.GetTruncated(); len(got.GetParts()) != 2 || got.GetRows() != 9 || got.GetBytes() != 99 {
		t.Errorf("got %v", last)
	}
}

func TestHeartbeatSaysWhatIsWaitedFor(t *testing.T) {
	release := make(chan struct{})
	conn, _ := serveFake(t, func(ctx context.Context, _ flow.Slice, out Emitter) error {
		if err := out.Waiting(time.Time{}, "budget until\n14:15"); err != nil {
			return err
		}
		<-release
		return nil
	})
	time.AfterFunc(300*time.Millisecond, func() { close(release) })
	_, last, waits, err := drive(t, conn, 0)
	if last.GetDone() == nil {
		t.Fatal(err)
	}
	if len(waits) < 3 || waits[0] != "budget until 14:15" || waits[2] != waits[0] {
		t.Errorf("waits %q, want the last one repeated", waits)
	}
}

func TestStopAndAbandonedSources(t *testing.T) {
	stop := &v1.ReadRequest{Message: &v1.ReadRequest_Stop{Stop: &v1.Stop{}}}
	t.Run("blocked without credit", func(t *testing.T) {
		conn, _ := serveFake(t, func(ctx context.Context, _ flow.Slice, out Emitter) error {
			return out.Batch(ctx, bodies(memory.DefaultAllocator, 1, 1))
		})
		batches, _, waits, err := drive(t, conn, 0, stop)
		if len(batches) != 0 || fault.KindOf(wire.FromStatus(err)) != fault.Canceled {
			t.Errorf("got %v, %v", batches, err)
		}
		if len(waits) == 0 || waits[0] != "credit" {
			t.Errorf("waits %q", waits)
		}
	})
	t.Run("finishes in time", func(t *testing.T) {
		conn, _ := serveFake(t, func(context.Context, flow.Slice, Emitter) error {
			<-time.After(20 * time.Millisecond)
			return nil
		})
		if _, last, _, err := drive(t, conn, 0, stop); last.GetDone() == nil {
			t.Error(err)
		}
	})
	t.Run("ignores its context", func(t *testing.T) {
		gone := make(chan error, 1)
		free := make(chan struct{})
		conn, log := serveFake(t, func(_ context.Context, _ flow.Slice, out Emitter) error {
			<-free
			gone <- out.Batch(context.Background(), bodies(memory.DefaultAllocator, 1, 1))
			return nil
		})
		_, _, _, err := drive(t, conn, 1000, stop)
		if fault.KindOf(wire.FromStatus(err)) != fault.Canceled || !strings.Contains(log.String(), "ignores the end of its context") {
			t.Errorf("got %v, log %s", err, log)
		}
		close(free)
		if err := <-gone; fault.KindOf(err) != fault.Canceled {
			t.Errorf("an abandoned source could still emit: %v", err)
		}
	})
	t.Run("a grant that can't be", func(t *testing.T) {
		conn, _ := serveFake(t, func(ctx context.Context, _ flow.Slice, _ Emitter) error {
			<-ctx.Done()
			return ctx.Err()
		})
		bad := &v1.ReadRequest{Message: &v1.ReadRequest_Grant{Grant: &v1.Grant{Bytes: 1 << 63}}}
		if _, _, _, err := drive(t, conn, 0, bad); fault.KindOf(wire.FromStatus(err)) != fault.Bug {
			t.Errorf("got %v", err)
		}
	})
}

func TestCallsBeforeConfigure(t *testing.T) {
	def := Definition{
		Name: "fake", Version: "1", Config: Schema(`{}`),
		Streams: []Stream{{Name: "events", Kind: Time, Schema: bodySchema, Main: true}},
		Open: func(context.Context, Config) (Source, error) {
			return nil, fault.Errorf(fault.Config, "open", "no region")
		},
	}
	s, err := NewServer(def, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn := listen(t, nil, func(g *grpc.Server) { s.Register(g) }, func() { _ = s.Close() })
	p, src := v1.NewPluginServiceClient(conn), v1.NewSourceServiceClient(conn)
	if _, err := src.Now(t.Context(), &v1.NowRequest{}); fault.KindOf(wire.FromStatus(err)) != fault.Bug {
		t.Errorf("Now before Configure: %v", err)
	}
	for name, req := range map[string]*v1.ConfigureRequest{
		"other version":  {ProtocolVersion: 99},
		"not an object":  {ProtocolVersion: 1, Config: []byte(`["secret-value"]`)},
		"source refuses": {ProtocolVersion: 1},
	} {
		_, err := p.Configure(t.Context(), req)
		if fault.KindOf(wire.FromStatus(err)) != fault.Config || strings.Contains(err.Error(), "secret-value") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefinitionValidate(t *testing.T) {
	err := Definition{Name: "Bad Name", Config: Schema(`[]`), Streams: []Stream{
		{Name: "a", Schema: arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil), DigestColumns: []string{"m"}},
		{Name: "a", Kind: Time, Buffer: -1},
	}}.Validate()
	for _, want := range []string{"buffer -1", "name", "version", "Open", "config schema", "named twice", "kind 0", "digest column \"m\"", "no schema", "0 main"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v doesn't say %q", err, want)
		}
	}
}

// fakeHost is the HostService that the budget's client talks to.
type fakeHost struct {
	v1.UnimplementedHostServiceServer
	settled *v1.SettleBudgetRequest
	granted bool
}

func (h *fakeHost) AcquireBudget(_ context.Context, r *v1.AcquireBudgetRequest) (*v1.AcquireBudgetResponse, error) {
	if r.GetNamespace() == "" {
		return nil, status.Error(codes.InvalidArgument, "no namespace")
	}
	return &v1.AcquireBudgetResponse{Granted: h.granted, Reservation: "r1", Why: "requests", RetryAfter: durationpb.New(time.Minute)}, nil
}

func (h *fakeHost) SettleBudget(_ context.Context, r *v1.SettleBudgetRequest) (*v1.SettleBudgetResponse, error) {
	h.settled = r
	return &v1.SettleBudgetResponse{}, nil
}

func TestBudgetClient(t *testing.T) {
	host := &fakeHost{}
	conn := listen(t, nil, func(g *grpc.Server) { v1.RegisterHostServiceServer(g, host) }, func() {})
	b := &hostBudget{v1.NewHostServiceClient(conn)}
	_, err := b.Acquire(t.Context(), BudgetRequest{Limit: Limit{Namespace: "download"}, Requests: 1})
	if fault.KindOf(err) != fault.Throttled || fault.RetryAfterOf(err) != time.Minute {
		t.Errorf("spent: %v after %s", err, fault.RetryAfterOf(err))
	}
	host.granted = true
	if got, err := b.Acquire(t.Context(), BudgetRequest{Limit: Limit{Namespace: "download"}}); err != nil || got != "r1" {
		t.Errorf("granted: %q, %v", got, err)
	}
	if _, err := b.Acquire(t.Context(), BudgetRequest{}); fault.KindOf(err) != fault.Config {
		t.Errorf("refused: %v", err)
	}
	left := uint64(7)
	if err := b.Settle(t.Context(), BudgetSettlement{Reservation: "r1", Done: true, Vendor: VendorBudget{RemainingRequests: &left}}); err != nil {
		t.Fatal(err)
	}
	if s := host.settled; !s.GetDone() || s.GetVendor().GetRemainingRequests() != 7 || s.GetVendor().LimitBytes != nil || s.GetVendor().Reset_ != nil {
		t.Errorf("settled %v", s)
	}
}

func TestLogIsReadByGoPlugin(t *testing.T) {
	var b bytes.Buffer
	newLogger(&b, slog.LevelInfo).With("slice", "a").Warn("hello", slog.Group("g", slog.String("level", "x")))
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["@level"] != "warn" || line["@message"] != "hello" || line["slice"] != "a" || line["@timestamp"] == nil ||
		line["g"].(map[string]any)["level"] != "x" {
		t.Errorf("line %s", b.Bytes())
	}
}

func TestServeWithoutAHost(t *testing.T) {
	t.Setenv(wire.Handshake.MagicCookieKey, "")
	err := serve(Definition{Name: "acme", Version: "2.1.0"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), `Sluice source "acme" (version 2.1.0), a plugin`) {
		t.Errorf("got %v", err)
	}
}
