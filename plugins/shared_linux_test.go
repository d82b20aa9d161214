package plugins

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// sharing is one memory as host and plugin have it.
func sharing(t *testing.T) (host, plugin *shm.Memory) {
	t.Helper()
	host, file, err := shm.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plugin, err = shm.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	return host, plugin
}

// unused reports whether every slot is free, by filling them all.
func unused(m *shm.Memory) bool {
	s := m.NewSender()
	defer s.Close()
	n := 0
	for ; ; n++ {
		if _, ok := s.Put(1, func([]byte) {}); !ok {
			break
		}
	}
	return n == shm.Slots
}

func openRead(t *testing.T, ctx context.Context, conn *grpc.ClientConn) grpc.BidiStreamingClient[v1.ReadRequest, v1.ReadResponse] {
	t.Helper()
	stream, err := v1.NewSourceServiceClient(conn).Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*v1.ReadRequest{
		{Message: &v1.ReadRequest_Open{Open: &v1.Open{Slice: wire.SliceToProto(fakeSlice())}}},
		{Message: &v1.ReadRequest_Grant{Grant: &v1.Grant{Bytes: 1 << 40}}},
	} {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	return stream
}

// TestFramesInSharedMemory: large frames lie in the memory, small ones and those that find no room are sent; the sum is that of all. The host
// reads nothing before the plugin has sent everything, and what it reads then is whole.
func TestFramesInSharedMemory(t *testing.T) {
	for _, broken := range []bool{false, true} {
		host, plugin := sharing(t)
		sent := make(chan struct{})
		conn, _ := serveSharing(t, plugin, host, func(ctx context.Context, _ flow.Slice, out Emitter) error {
			defer close(sent)
			for i := range 3 * shm.Slots {
				rec := bodies(memory.DefaultAllocator, 1000+i, 500)
				err := out.Batch(ctx, rec)
				rec.Release()
				if err != nil {
					return err
				}
			}
			if broken {
				return io.ErrUnexpectedEOF
			}
			return out.Batch(ctx, bodies(memory.DefaultAllocator, 3, 7))
		})
		stream := openRead(t, t.Context(), conn)
		<-sent
		time.Sleep(50 * time.Millisecond) // the handler would have returned by now, if it didn't wait
		var sizes []int
		var rows uint64
		for {
			var in wire.InMessage
			if err := stream.RecvMsg(&in); err != nil {
				if !broken || !strings.Contains(err.Error(), "unexpected EOF") {
					t.Fatalf("%v, after %d batches", err, len(sizes))
				}
				break
			}
			if in.Gone {
				t.Fatalf("batch %d was taken back before it was read", len(sizes))
			}
			if in.Batch != nil {
				rows += in.Batch.Rows
				sizes = append(sizes, in.Batch.FrameBytes())
				if len(in.Batch.Frame()) != in.Batch.FrameBytes() || in.Size <= in.Batch.FrameBytes() {
					t.Errorf("a frame of %d bytes in a message of %d", in.Batch.FrameBytes(), in.Size)
				}
			}
			done := in.Response.GetDone()
			in.Release()
			if done == nil {
				continue
			}
			if sum, err := wire.SumFromProto(done.GetSum()); err != nil || sum.Rows != rows {
				t.Errorf("%d rows came, the manifest says %+v, %v", rows, sum, err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(&in); err != io.EOF {
				t.Errorf("after Done: %v", err)
			}
			break
		}
		if want := 3 * shm.Slots; len(sizes) < want {
			t.Errorf("%d batches, want %d at least", len(sizes), want)
		}
		if !unused(plugin) {
			t.Error("slots stay in use after the read")
		}
	}
}

// TestSharedMemoryOfCanceledReads: what the host doesn't read any more is free again when the read has ended.
func TestSharedMemoryOfCanceledReads(t *testing.T) {
	host, plugin := sharing(t)
	sent := make(chan struct{}, 1)
	conn, _ := serveSharing(t, plugin, host, func(ctx context.Context, _ flow.Slice, out Emitter) error {
		for range 2 {
			if err := out.Batch(ctx, bodies(memory.DefaultAllocator, 1000, 500)); err != nil {
				return err
			}
		}
		sent <- struct{}{}
		return nil
	})
	for range 2 * shm.Slots {
		ctx, cancel := context.WithCancel(t.Context())
		openRead(t, ctx, conn)
		<-sent
		cancel()
	}
	deadline := time.Now().Add(10 * time.Second)
	for !unused(plugin) {
		if time.Now().After(deadline) {
			t.Fatal("slots of canceled reads stay in use")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestSharedMemoryThatIsntThere: a plugin whose variable names nothing of use says so and sends its frames.
func TestSharedMemoryThatIsntThere(t *testing.T) {
	for value, want := range map[string]string{"three": "isn't the number", "-1": "isn't the number", "65000": "bad file descriptor"} {
		t.Setenv(wire.SharedMemoryVar, value)
		log := &logBuffer{}
		if m := sharedMemory(newLogger(log, nil)); m != nil || !strings.Contains(log.String(), want) {
			t.Errorf("%s=%s: %v, log %q, want %q", wire.SharedMemoryVar, value, m, log, want)
		}
	}
}

// TestSharedMemoryIsNegotiated: a host that doesn't name the feature gets every frame in its message.
func TestSharedMemoryIsNegotiated(t *testing.T) {
	_, plugin := sharing(t)
	def := Definition{
		Name: "fake", Version: "1", Config: Schema(`{}`),
		Streams: []Stream{{Name: "events", Kind: Time, Schema: bodySchema, Main: true}},
		Open: func(context.Context, Config) (Source, error) {
			return &fakeSource{read: func(ctx context.Context, _ flow.Slice, out Emitter) error {
				return out.Batch(ctx, bodies(memory.DefaultAllocator, 1000, 500))
			}}, nil
		},
	}
	s, err := NewServer(def, newLogger(io.Discard, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.shared = plugin
	conn := listen(t, nil, func(g *grpc.Server) { s.Register(g) }, func() { _ = s.Close() })
	d, err := v1.NewPluginServiceClient(conn).Describe(t.Context(), &v1.DescribeRequest{})
	if err != nil || !strings.Contains(strings.Join(d.GetFeatures(), " "), wire.FeatureSharedMemory) {
		t.Errorf("features %q, %v", d.GetFeatures(), err)
	}
	if _, err := v1.NewPluginServiceClient(conn).Configure(t.Context(), &v1.ConfigureRequest{ProtocolVersion: 1}); err != nil {
		t.Fatal(err)
	}
	if rows, last, _, err := drive(t, conn, 1<<40); len(rows) != 1 || last.GetDone() == nil {
		t.Errorf("%v, %v, %v", rows, last, err)
	}
}
