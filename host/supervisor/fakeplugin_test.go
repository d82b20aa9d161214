package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/credit"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// fakeSchema is the one stream of the fake plugin.
var fakeSchema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
	{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
}, nil)

const (
	fakeRows   = 100
	fakeSecret = "s3cret-key-0001"
)

// runFakePlugin is the test binary as a plugin. The first argument says how it behaves before and at the handshake; how a read
// goes is said by the slice's partition key.
func runFakePlugin(mode string, args []string) {
	signal.Ignore(syscall.SIGINT)
	if mode == "sdk" {
		plugins.Serve(sdkDefinition())
		return
	}
	// As a plugin should: when the host is gone, nothing of the group stays.
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		_ = syscall.Kill(0, syscall.SIGKILL)
	}()
	config := &plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginSetName: fakeServer{mode: mode}}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, wire.ServerOptions()...)...)
		},
	}
	switch mode {
	case "exit":
		fmt.Fprintln(os.Stderr, `{"@level":"error","@message":"no licence","@timestamp":"2026-01-01T00:00:00Z","error":"file not found"}`)
		fmt.Fprintln(os.Stderr, "giving up")
		os.Exit(3)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	case "segv":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case "panic":
		panic("at the start")
	case "garbage":
		fmt.Println("Hello, I am no plugin")
		time.Sleep(time.Minute)
	case "silent":
		fmt.Fprintln(os.Stderr, "thinking")
		time.Sleep(time.Minute)
	case "version":
		config.VersionedPlugins = map[int]plugin.PluginSet{7: {wire.PluginSetName: fakeServer{mode: mode}}}
	case "cookie":
		config.MagicCookieValue = "another program's"
	case "tcp":
		fmt.Println("1|1|tcp|127.0.0.1:1|grpc|")
		time.Sleep(time.Minute)
	case "outside":
		fmt.Println("1|1|unix|/tmp/elsewhere|grpc|")
		time.Sleep(time.Minute)
	case "netrpc":
		fmt.Println("1|1|unix|/tmp/elsewhere|netrpc|")
		time.Sleep(time.Minute)
	case "core":
		fmt.Println("2|1|unix|/tmp/elsewhere|grpc|")
		time.Sleep(time.Minute)
	case "deaf":
		// A good handshake, and nobody behind the socket.
		path := os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/deaf"
		if _, err := net.Listen("unix", path); err != nil {
			panic(err)
		}
		fmt.Printf("1|1|unix|%s|grpc|\n", path)
		time.Sleep(time.Minute)
	case "children":
		// A grandchild in the same group, which outlives its parent unless the group is killed.
		child := exec.Command("/bin/sleep", "60")
		if err := child.Start(); err != nil {
			panic(err)
		}
		if err := os.WriteFile(args[0], []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
			panic(err)
		}
	case "longline":
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 1<<20))
		fmt.Fprintln(os.Stderr, "[WARN] short again")
	}
	plugin.Serve(config)
	if mode == "noexit" {
		time.Sleep(time.Minute)
	}
}

// fakeServer registers the fake plugin's services.
type fakeServer struct {
	plugin.NetRPCUnsupportedPlugin
	mode string
}

func (f fakeServer) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if f.mode == "foreign" {
		return nil
	}
	p := &fakePlugin{mode: f.mode}
	v1.RegisterPluginServiceServer(s, p)
	v1.RegisterSourceServiceServer(s, p)
	return nil
}

func (fakeServer) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a server")
}

type fakePlugin struct {
	v1.UnimplementedPluginServiceServer
	v1.UnimplementedSourceServiceServer
	mode string
	host v1.HostServiceClient
}

func (f *fakePlugin) Describe(context.Context, *v1.DescribeRequest) (*v1.DescribeResponse, error) {
	schema, err := wire.EncodeSchema(fakeSchema)
	if err != nil {
		return nil, err
	}
	d := &v1.DescribeResponse{
		Name: "fake", Version: "1.2.3", ProtocolVersions: []uint32{wire.ProtocolVersion}, Features: wire.Features(nil),
		Kind:         v1.PluginKind_PLUGIN_KIND_SOURCE,
		ConfigSchema: []byte(`{"type":"object","properties":{"api_key":{"type":"string","x-sluice-secret":true},"tls":{"properties":{"pin":{"x-sluice-secret":true}}}}}`),
		Streams:      []*v1.StreamDescription{{Name: "events", Kind: v1.StreamKind_STREAM_KIND_TIME, Schema: schema, PartitionBy: "log_id", Granularity: durationpb.New(time.Hour), Buffer: 3 << 20}},
		Limits:       []*v1.Limit{{Namespace: "download", Requests: 150, Window: durationpb.New(15 * time.Minute)}},
	}
	switch f.mode {
	case "name":
		d.Name = "another"
	case "protocols":
		d.ProtocolVersions = []uint32{8, 9}
	case "sink":
		d.Kind = v1.PluginKind_PLUGIN_KIND_SINK
	case "nostreams":
		d.Streams = nil
	case "badschema":
		d.Streams[0].Schema = []byte("no schema")
	case "badbuffer":
		d.Streams[0].Buffer = 1 << 63
	case "badgranularity":
		d.Streams[0].Granularity = durationpb.New(7 * time.Hour)
	case "badconfig":
		d.ConfigSchema = []byte("[]")
	case "twice":
		d.Streams = append(d.Streams, d.Streams[0])
	case "stop-itself":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // this thread may go on for a moment
	case "describe-exit":
		fmt.Fprintln(os.Stderr, "swallowed by go-plugin")
		os.Exit(9)
	}
	return d, nil
}

func (f *fakePlugin) Configure(ctx context.Context, m *v1.ConfigureRequest) (*v1.ConfigureResponse, error) {
	if f.mode == "printer" {
		fmt.Println("printed to stdout with " + fakeSecret)
		for range 4 << 10 {
			fmt.Println(strings.Repeat("y", 1000)) // far more than a pipe holds
		}
		fmt.Fprintf(os.Stderr, `{"@level":"warn","@message":"the key is %s","pid":"mine"}`+"\n", fakeSecret)
	}
	switch f.mode {
	case "configure-hang":
		select {}
	case "configure-auth":
		return nil, wire.ToStatus(fault.New(fault.Auth, "open", "check the key "+fakeSecret, errors.New("refused "+fakeSecret)))
	case "configure-settle":
		return &v1.ConfigureResponse{Partitions: []*v1.StreamPartitions{{Stream: "events", Settle: durationpb.New(-time.Second)}}}, nil
	case "configure-partition":
		return &v1.ConfigureResponse{Partitions: []*v1.StreamPartitions{{Stream: "other"}}}, nil
	}
	if m.GetHostSocket() != "" {
		conn, err := grpc.NewClient("unix://"+m.GetHostSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		f.host = v1.NewHostServiceClient(conn)
	}
	env := strings.Join(os.Environ(), " ")
	return &v1.ConfigureResponse{
		Warnings:   []string{"http " + m.GetHttp().GetProxy() + " " + m.GetHttp().GetUserAgent(), "env " + env, "spool " + m.GetSpoolFolder()},
		Partitions: []*v1.StreamPartitions{{Stream: "events", Keys: []*v1.PartitionKey{{Key: "a", Name: "first"}, {Key: "b"}}, Settle: durationpb.New(24 * time.Hour)}},
	}, nil
}

func (f *fakePlugin) Check(ctx context.Context, _ *v1.CheckRequest) (*v1.CheckResponse, error) {
	if f.mode == "ask-hang" {
		select {}
	}
	if f.host == nil {
		return nil, wire.ToStatus(fault.Errorf(fault.Auth, "check", "no host"))
	}
	if f.mode == "connections" {
		// All are held until the end. One that is turned away ends as soon as it is read from.
		held := 0
		for range 100 {
			conn, err := net.Dial("unix", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")+"/host")
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				held++
			}
		}
		return &v1.CheckResponse{Summary: strconv.Itoa(held)}, nil
	}
	got, err := f.host.AcquireBudget(ctx, &v1.AcquireBudgetRequest{Key: "k", Namespace: "download", Requests: 1, Bytes: 5, Window: durationpb.New(time.Minute)})
	if err != nil {
		return nil, err
	}
	limit := uint64(9)
	_, err = f.host.SettleBudget(ctx, &v1.SettleBudgetRequest{Reservation: got.GetReservation(), Requests: 1, Bytes: 4, Done: true, Vendor: &v1.VendorBudget{LimitRequests: &limit}})
	if err != nil {
		return nil, err
	}
	if _, err := f.host.SettleBudget(ctx, &v1.SettleBudgetRequest{Reservation: "another's"}); err == nil {
		return nil, errors.New("settled a reservation of another process")
	}
	return &v1.CheckResponse{Summary: "settled " + got.GetReservation()}, nil
}

func (f *fakePlugin) Discover(_ *v1.DiscoverRequest, s grpc.ServerStreamingServer[v1.DiscoverResponse]) error {
	for _, id := range []string{"1", "2"} {
		if err := s.Send(&v1.DiscoverResponse{Kind: "log", Id: id}); err != nil {
			return err
		}
		switch f.mode {
		case "ask-hang":
			select {}
		case "ask-slow":
			time.Sleep(400 * time.Millisecond)
		}
	}
	return nil
}

func (f *fakePlugin) Now(context.Context, *v1.NowRequest) (*v1.NowResponse, error) {
	if f.mode == "ask-hang" {
		select {}
	}
	if f.mode == "noclock" {
		return f.UnimplementedSourceServiceServer.Now(context.Background(), nil)
	}
	return &v1.NowResponse{Time: timestamppb.New(fakeDay)}, nil
}

func (f *fakePlugin) Plan(m *v1.PlanRequest, s grpc.ServerStreamingServer[v1.PlanResponse]) error {
	g, err := wire.GapFromProto(m)
	if err != nil {
		return wire.ToStatus(err)
	}
	send := func(from, to time.Time) error {
		return s.Send(&v1.PlanResponse{Slice: wire.SliceToProto(flow.NewSlice(g.Partition, from, to, 0))})
	}
	day := func(n int) time.Time { return g.From.Add(time.Duration(n) * 24 * time.Hour) }
	switch g.Key {
	case "hole":
		return errors.Join(send(day(0), day(1)), send(day(1).Add(time.Hour), day(2)))
	case "overlap":
		return errors.Join(send(day(0), day(1)), send(day(0), day(1)))
	case "beyond":
		return errors.Join(send(day(0), day(1)), send(day(1), day(2)), send(day(2), day(3)))
	case "empty":
		return nil
	case "late":
		return send(day(0).Add(time.Hour), day(1))
	case "foreign":
		g.Key = "other"
	}
	for _, r := range g.Range().CutDays() {
		if err := send(r.From, r.To); err != nil {
			return err
		}
	}
	return nil
}

// fakeRead is one read of the fake plugin.
type fakeRead struct {
	stream grpc.BidiStreamingServer[v1.ReadRequest, v1.ReadResponse]
	slice  flow.Slice
	gate   *credit.Gate
	stop   chan struct{}
	layout *wire.Layout
	seq    uint64
	sum    flow.Sum
	n      int // of rows made, so that each is another
}

func (f *fakePlugin) Read(stream grpc.BidiStreamingServer[v1.ReadRequest, v1.ReadResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	s, err := wire.SliceFromProto(first.GetOpen().GetSlice())
	if err != nil {
		return wire.ToStatus(err)
	}
	r := &fakeRead{stream: stream, slice: s, gate: credit.NewGate(), stop: make(chan struct{})}
	var listening sync.WaitGroup
	listening.Go(func() {
		var once sync.Once
		for {
			m, err := stream.Recv()
			if err != nil {
				r.gate.Close(err)
				return
			}
			if g := m.GetGrant(); g != nil {
				_ = r.gate.Grant(int64(g.GetBytes()))
			}
			if m.GetStop() != nil {
				once.Do(func() { close(r.stop) })
			}
		}
	})
	return r.run()
}

func (r *fakeRead) respond(m any) error {
	response := &v1.ReadResponse{}
	switch m := m.(type) {
	case *v1.Opened:
		response.Message = &v1.ReadResponse_Opened{Opened: m}
	case *v1.Waiting:
		response.Message = &v1.ReadResponse_Waiting{Waiting: m}
	case *v1.DeadLetterPiece:
		response.Message = &v1.ReadResponse_Dead{Dead: m}
	case *v1.Done:
		response.Message = &v1.ReadResponse_Done{Done: m}
	case *v1.Truncated:
		response.Message = &v1.ReadResponse_Truncated{Truncated: m}
	}
	return r.stream.Send(response)
}

// open announces the schema with source as the one constant.
func (r *fakeRead) open(schema *arrow.Schema) error {
	bytes, err := wire.EncodeSchema(schema)
	if err != nil {
		return err
	}
	if r.layout, err = wire.NewLayout(fakeSchema, []int{2}); err != nil {
		return err
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fakeSchema.Fields()[2:], nil))
	defer b.Release()
	b.Field(0).(*array.StringBuilder).Append("fake")
	row := b.NewRecord()
	defer row.Release()
	constants, err := r.layout.EncodeConstants(row)
	if err != nil {
		return err
	}
	return r.respond(&v1.Opened{Schema: bytes, ConstantColumns: []uint32{2}, Constants: constants, VendorTime: timestamppb.New(fakeDay)})
}

// frame makes the next batch, which holds lines of the given length.
func (r *fakeRead) frame(length int) (*wire.OutBatch, error) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, fakeSchema)
	defer b.Release()
	for range fakeRows {
		b.Field(0).(*array.TimestampBuilder).AppendNull()
		line := fmt.Sprintf("line %d of %s ", r.n, r.slice.Key)
		line += strings.Repeat("x", max(0, length-len(line)))
		b.Field(1).(*array.StringBuilder).Append(line)
		b.Field(2).(*array.StringBuilder).Append("fake")
		r.sum.Add([]byte(line))
		r.n++
	}
	rec := b.NewRecord()
	defer rec.Release()
	f, err := r.layout.Encode(rec)
	if err != nil {
		return nil, err
	}
	out := &wire.OutBatch{Seq: r.seq, Frame: f}
	r.seq++
	return out, nil
}

// batch sends a batch when there is credit for it, unless free is set.
func (r *fakeRead) batch(length int, free bool) error {
	out, err := r.frame(length)
	if err != nil {
		return err
	}
	defer out.Frame.Release()
	if !free {
		if err := r.gate.Wait(r.stream.Context()); err != nil {
			return err
		}
		r.gate.Spend(int64(out.Size()))
	}
	return r.stream.SendMsg(out)
}

// dead sends a dead record in pieces.
func (r *fakeRead) dead(record uint64, pieces ...string) error {
	h, offset := flow.NewHasher(), uint64(0)
	for i, data := range pieces {
		m := &v1.DeadLetterPiece{Record: record, Offset: offset, Data: []byte(data), Last: i == len(pieces)-1}
		if m.Last {
			m.Reason = "too long"
		}
		if err := r.gate.Wait(r.stream.Context()); err != nil {
			return err
		}
		r.gate.Spend(int64(len(data)))
		if err := r.respond(m); err != nil {
			return err
		}
		_, _ = h.Write([]byte(data))
		offset += uint64(len(data))
	}
	r.sum = r.sum.Plus(h.Sum())
	return nil
}

func (r *fakeRead) done() error {
	return r.respond(&v1.Done{Sum: wire.SumToProto(r.sum), Counters: map[string]uint64{"batches": r.seq}})
}

// steps runs the steps of a read until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *fakeRead) opened() error { return r.open(fakeSchema) }
func (r *fakeRead) one() error    { return r.batch(200, false) }

func (r *fakeRead) cut(n int) []*v1.Slice {
	var parts []*v1.Slice
	for _, p := range r.slice.Range().Cut(n) {
		parts = append(parts, wire.SliceToProto(flow.NewSlice(r.slice.Partition, p.From, p.To, r.slice.Rev)))
	}
	return parts
}

func (r *fakeRead) run() error {
	if n, ok := strings.CutPrefix(r.slice.Key, "batches "); ok { // batches COUNT LENGTH
		var count, length int
		if _, err := fmt.Sscan(n, &count, &length); err != nil {
			return err
		}
		if err := r.opened(); err != nil {
			return err
		}
		for range count {
			if err := r.batch(length, false); err != nil {
				return err
			}
		}
		return r.done()
	}
	if n, ok := strings.CutPrefix(r.slice.Key, "tiny "); ok { // tiny COUNT: dead records
		count, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		if err := r.opened(); err != nil {
			return err
		}
		for i := range count {
			if err := r.dead(uint64(i), ""); err != nil {
				return err
			}
		}
		return r.done()
	}
	switch r.slice.Key {
	case "waiting":
		return steps(func() error {
			return r.respond(&v1.Waiting{Until: timestamppb.New(fakeDay), Why: "budget " + fakeSecret})
		}, r.opened, r.one, r.done)
	case "dead":
		return steps(r.opened, r.one,
			func() error { return r.dead(0, "long ", "record\x00", "") },
			func() error { return r.dead(1, "unfit") }, r.one, r.done)
	case "dead-order":
		return steps(r.opened, func() error { return r.dead(1, "unfit") })
	case "dead-cut":
		return steps(r.opened, func() error { return r.gate.Wait(r.stream.Context()) }, func() error {
			return r.respond(&v1.DeadLetterPiece{Data: []byte("half")})
		}, r.done)
	case "truncated":
		return steps(r.opened, r.one, func() error { return r.respond(&v1.Truncated{Parts: r.cut(3), Rows: 100, Bytes: 7}) })
	case "truncated-unknown":
		return r.respond(&v1.Truncated{Rows: 100})
	case "truncated-one":
		return steps(r.opened, func() error { return r.respond(&v1.Truncated{Parts: r.cut(1)}) })
	case "truncated-hole":
		return steps(r.opened, func() error { return r.respond(&v1.Truncated{Parts: r.cut(3)[:2]}) })
	case "auth":
		return wire.ToStatus(fault.New(fault.Auth, "download", "check the key", errors.New("401 for "+fakeSecret)))
	case "exit":
		return steps(r.opened, r.one, func() error {
			fmt.Fprintln(os.Stderr, "about to exit with "+fakeSecret)
			time.Sleep(150 * time.Millisecond) // go-plugin forwards it; half of what a read may be silent for
			os.Exit(4)
			return nil
		})
	case "panic":
		return steps(r.opened, func() error {
			go panic("deep in a decoder")
			select {}
		})
	case "kill":
		return steps(r.opened, func() error {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		})
	case "hang":
		return steps(r.opened, r.one, func() error { select {} })
	case "hang-before":
		select {}
	case "freeze":
		return steps(r.opened, func() error {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			select {} // this thread may go on for a moment
		})
	case "stop":
		return steps(r.opened, func() error {
			select {
			case <-r.stop:
				return wire.ToStatus(fault.Errorf(fault.Canceled, "read", "stopped"))
			case <-r.stream.Context().Done():
				return r.stream.Context().Err()
			}
		})
	case "nostop":
		return steps(r.opened, func() error {
			for {
				if err := r.respond(&v1.Waiting{Why: "vendor"}); err != nil {
					return err
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	case "schema":
		return r.open(arrow.NewSchema(fakeSchema.Fields()[:2], nil))
	case "unopened":
		return r.done()
	case "opened-twice":
		return steps(r.opened, r.opened)
	case "overrun":
		return steps(r.opened, func() error { return r.batch(200, true) })
	case "gap":
		return steps(r.opened, func() error { r.seq = 5; return nil }, r.one)
	case "manifest":
		return steps(r.opened, r.one, func() error { r.sum.Digest.Lo++; return nil }, r.done)
	case "rows":
		return steps(r.opened, r.one, func() error { r.sum.Rows--; return nil }, r.done)
	case "after":
		return steps(r.opened, r.done, func() error { return r.respond(&v1.Waiting{}) })
	case "nodone":
		return steps(r.opened, r.one)
	case "frame":
		return steps(r.opened, func() error {
			if err := r.gate.Wait(r.stream.Context()); err != nil {
				return err
			}
			return r.stream.Send(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: &v1.Batch{Rows: 3, Frame: []byte("no frame at all")}}})
		})
	case "shared-gone", "shared-slot", "shared-both":
		return steps(r.opened, func() error {
			if err := r.gate.Wait(r.stream.Context()); err != nil {
				return err
			}
			b := &v1.Batch{Rows: 3, Shared: &v1.SharedFrame{Ticket: 77, Length: 1000}}
			switch r.slice.Key {
			case "shared-slot":
				b.Shared.Slot = 1 << 30
			case "shared-both":
				b.Frame = []byte("and a frame")
			}
			return steps(func() error {
				return r.stream.Send(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: b}})
			}, func() error { select {} })
		})
	case "empty-message":
		return r.stream.Send(&v1.ReadResponse{})
	}
	return steps(r.opened, r.one, r.one, r.done)
}
