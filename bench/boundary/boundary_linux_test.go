// Package boundary measures what it costs to carry frames from a plugin's process to the host's, by several ways. It tests nothing.
//
//	go test -run '^$' -bench Boundary -benchtime 2000x ./bench/boundary
//
// Each way sends the same frames of log lines from a child process; the receiver copies each frame's body once into one place, as a sink
// does that writes lines. cpu-s/GB is user and system time of both processes. bench/DATAPATH.md has figures and what follows from them.
package boundary

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-io/sluice/proto/credit"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

const (
	childEnv  = "SLUICE_BOUNDARY"
	lineBytes = 213
	share     = 16 << 20 // bytes of credit
	sources   = 8        // different frames: more than the nearer caches hold
	slots     = 8        // of shared memory
)

func TestMain(m *testing.M) {
	if way := os.Getenv(childEnv); way != "" {
		if err := child(way); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var schema = arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)

// records returns different records of about so many bytes each.
func records(bytes int) []arrow.Record {
	out := make([]arrow.Record, sources)
	for i := range out {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for row := range bytes / lineBytes {
			b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%0*d", lineBytes, row*sources+i))
		}
		out[i] = b.NewRecord()
		b.Release()
	}
	return out
}

// frames returns the same as frames in one piece each.
func frames(bytes int) ([][]byte, error) {
	layout, err := wire.NewLayout(schema, nil)
	if err != nil {
		return nil, err
	}
	defer layout.Release()
	var out [][]byte
	for _, r := range records(bytes) {
		f, err := layout.Encode(r)
		if err != nil {
			return nil, err
		}
		out = append(out, f.Bytes())
		f.Release()
	}
	return out, nil
}

// way is how frames go. The child runs send, with the socket as its file 3 and, for shared memory, a memfd as its file 4.
type way struct {
	name    string
	shared  bool
	send    func(conn *net.UnixConn, ring []byte, size, n int) error
	receive func(conn *net.UnixConn, ring []byte, n int, take func([]byte)) error
}

var ways = []way{
	{"socket", false, sendSocket, receiveSocket},
	{"grpc", false, sendGRPC, receiveGRPC},
	{"memfd-in-place", true, sendSlots(false), receiveSlots(false)},
	{"memfd-copied-in", true, sendSlots(true), receiveSlots(false)},
	{"memfd-copied-in-and-out", true, sendSlots(true), receiveSlots(true)},
}

func child(name string) error {
	size, err := strconv.Atoi(os.Getenv(childEnv + "_SIZE"))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(os.Getenv(childEnv + "_N"))
	if err != nil {
		return err
	}
	conn, err := connOf(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	for _, w := range ways {
		if w.name != name {
			continue
		}
		var ring []byte
		if w.shared {
			if ring, err = unix.Mmap(4, 0, slots*slotSize(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
				return err
			}
		}
		return w.send(conn, ring, size, n)
	}
	return fmt.Errorf("no way %q", name)
}

func connOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

func slotSize(frame int) int { return frame + frame/4 }

func BenchmarkBoundary(b *testing.B) {
	for _, size := range []int{1 << 20, 3 << 20} {
		for _, w := range ways {
			b.Run(fmt.Sprintf("%s/%dMiB", w.name, size>>20), func(b *testing.B) { measure(b, w, size) })
		}
	}
}

func measure(b *testing.B, w way, size int) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := connOf(os.NewFile(uintptr(pair[0]), "socket"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	files := []*os.File{theirs}
	var ring []byte
	if w.shared {
		fd, err := unix.MemfdCreate("boundary", unix.MFD_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		memfd := os.NewFile(uintptr(fd), "memfd")
		defer memfd.Close()
		if err := memfd.Truncate(int64(slots * slotSize(size))); err != nil {
			b.Fatal(err)
		}
		if ring, err = unix.Mmap(fd, 0, slots*slotSize(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			b.Fatal(err)
		}
		defer unix.Munmap(ring)
		files = append(files, memfd)
	}
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		b.Fatal(err)
	}
	run := func(n int) (cpu float64, bytes int) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), childEnv+"="+w.name, fmt.Sprintf("%s_SIZE=%d", childEnv, size), fmt.Sprintf("%s_N=%d", childEnv, n))
		cmd.Stderr, cmd.ExtraFiles = os.Stderr, files
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		place := make([]byte, 256<<10)
		before := selfCPU(b)
		err := w.receive(conn, ring, n, func(frame []byte) {
			bytes += len(frame)
			for len(frame) > 0 {
				frame = frame[copy(place, frame):]
			}
		})
		cpu = selfCPU(b) - before
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		return cpu + (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), bytes
	}
	b.ResetTimer()
	cpu, bytes := run(b.N)
	b.StopTimer()
	b.SetBytes(int64(bytes / b.N))
	b.ReportMetric(cpu/float64(bytes)*1e9, "cpu-s/GB")
}

func selfCPU(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// sendSocket sends a length and the frame. The socket's own buffer is the credit.
func sendSocket(conn *net.UnixConn, _ []byte, size, n int) error {
	fs, err := frames(size)
	if err != nil {
		return err
	}
	head := make([]byte, 8)
	for i := range n {
		f := fs[i%len(fs)]
		binary.LittleEndian.PutUint64(head, uint64(len(f)))
		bufs := net.Buffers{head, f}
		if _, err := bufs.WriteTo(conn); err != nil {
			return err
		}
	}
	return nil
}

// receiveSocket reads each frame into one of a few blocks that go round.
func receiveSocket(conn *net.UnixConn, _ []byte, n int, take func([]byte)) error {
	head := make([]byte, 8)
	blocks := make([][]byte, slots)
	for i := range n {
		if _, err := io.ReadFull(conn, head); err != nil {
			return err
		}
		block := &blocks[i%slots]
		if size := int(binary.LittleEndian.Uint64(head)); cap(*block) < size {
			*block = make([]byte, size)
		} else {
			*block = (*block)[:size]
		}
		if _, err := io.ReadFull(conn, *block); err != nil {
			return err
		}
		take(*block)
	}
	return nil
}

// sendSlots puts frames into slots, or finds them there already, and sends a slot's number and length.
func sendSlots(copied bool) func(*net.UnixConn, []byte, int, int) error {
	return func(conn *net.UnixConn, ring []byte, size, n int) error {
		fs, err := frames(size)
		if err != nil {
			return err
		}
		slot := slotSize(size)
		free := make([]byte, slots) // numbers of free slots
		for i := range free {
			free[i] = byte(i)
			copy(ring[i*slot:], fs[i])
		}
		head := make([]byte, 16)
		for i := range n {
			if len(free) == 0 {
				m, err := conn.Read(free[:slots])
				if err != nil {
					return err
				}
				free = free[:m]
			}
			s := int(free[0])
			free = free[1:]
			if len(free) == 0 {
				free = make([]byte, 0, slots)
			}
			f := fs[i%len(fs)]
			if copied {
				copy(ring[s*slot:], f)
			}
			binary.LittleEndian.PutUint64(head, uint64(s))
			binary.LittleEndian.PutUint64(head[8:], uint64(len(f)))
			if _, err := conn.Write(head); err != nil {
				return err
			}
		}
		return nil
	}
}

// receiveSlots gives the frames on from where they lie, or from a copy, and tells which slots are free again.
func receiveSlots(copied bool) func(*net.UnixConn, []byte, int, func([]byte)) error {
	return func(conn *net.UnixConn, ring []byte, n int, take func([]byte)) error {
		head := make([]byte, 16)
		slot := len(ring) / slots
		blocks := make([][]byte, slots)
		for i := range blocks {
			blocks[i] = make([]byte, slot)
		}
		for i := range n {
			if _, err := io.ReadFull(conn, head); err != nil {
				return err
			}
			s, length := int(binary.LittleEndian.Uint64(head)), int(binary.LittleEndian.Uint64(head[8:]))
			f := ring[s*slot:][:length]
			if copied {
				f = blocks[i%slots][:copy(blocks[i%slots], f)]
			}
			if !copied {
				take(f)
			}
			if i < n-slots {
				if _, err := conn.Write([]byte{byte(s)}); err != nil {
					return err
				}
			}
			if copied {
				take(f)
			}
		}
		return nil
	}
}

// sourceServer is a plugin that sends n batches.
type sourceServer struct {
	v1.UnimplementedSourceServiceServer
	records []arrow.Record
	n       int
}

// Read implements the SourceService.
func (s *sourceServer) Read(stream grpc.BidiStreamingServer[v1.ReadRequest, v1.ReadResponse]) error {
	layout, err := wire.NewLayout(schema, nil)
	if err != nil {
		return err
	}
	defer layout.Release()
	gate := credit.NewGate()
	go func() {
		for {
			req, err := stream.Recv()
			if err != nil {
				return
			}
			if g := req.GetGrant(); g != nil && gate.Grant(int64(g.GetBytes())) != nil {
				return
			}
		}
	}()
	for i := range s.n {
		f, err := layout.Encode(s.records[i%len(s.records)])
		if err != nil {
			return err
		}
		out := &wire.OutBatch{Seq: uint64(i), Frame: f}
		if err := gate.Wait(stream.Context()); err != nil {
			return err
		}
		gate.Spend(int64(out.Size()))
		err = stream.SendMsg(out)
		f.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// oneConn is a listener with one connection, which ends with it.
type oneConn struct {
	net.Conn
	given bool
	ended chan struct{}
	once  sync.Once
}

// Accept implements net.Listener.
func (l *oneConn) Accept() (net.Conn, error) {
	if l.given {
		<-l.ended
		return nil, net.ErrClosed
	}
	l.given = true
	return l, nil
}

// Addr implements net.Listener.
func (l *oneConn) Addr() net.Addr { return l.LocalAddr() }

// Close implements net.Listener and net.Conn.
func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Conn.Close()
}

func sendGRPC(conn *net.UnixConn, _ []byte, size, n int) error {
	server := grpc.NewServer(wire.ServerOptions()...)
	v1.RegisterSourceServiceServer(server, &sourceServer{records: records(size), n: n})
	// The receiver closes the connection when it has all.
	_ = server.Serve(&oneConn{Conn: conn, ended: make(chan struct{})})
	return nil
}

func receiveGRPC(conn *net.UnixConn, _ []byte, n int, take func([]byte)) error {
	opts := append(wire.DialOptions(nil), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return conn, nil }))
	client, err := grpc.NewClient("passthrough:///plugin", opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := v1.NewSourceServiceClient(client).Read(context.Background())
	if err != nil {
		return err
	}
	layout, err := wire.NewLayout(schema, nil)
	if err != nil {
		return err
	}
	defer layout.Release()
	window := credit.NewWindow(share, func(n int64) error {
		err := stream.Send(&v1.ReadRequest{Message: &v1.ReadRequest_Grant{Grant: &v1.Grant{Bytes: uint64(n)}}})
		if errors.Is(err, io.EOF) {
			return nil // it has sent all
		}
		return err
	})
	if err := window.Open(); err != nil {
		return err
	}
	for range n {
		var in wire.InMessage
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		if err := window.Receive(int64(in.Size)); err != nil {
			return err
		}
		size := int64(in.Size)
		take(in.Batch.Frame())
		in.Release()
		if err := window.Release(size); err != nil {
			return err
		}
	}
	return nil
}
