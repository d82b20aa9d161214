package supervisor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// TestMutualTLS reads over TLS if that was asked for, and then nobody without the certificate gets an answer.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", secure), func(t *testing.T) {
			s, _ := newSupervisor(t, Options{MutualTLS: secure})
			p := startSDK(t, s, fakeSpec(t, "sdk").Path)
			r, err := p.Read(t.Context(), fakeSlice("batches 5 200"), ReadOptions{Share: 4 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if sum, _, err := readAll(t.Context(), r); !errors.Is(err, io.EOF) || sum.Rows != 5*(1<<20/200)+1 {
				t.Errorf("sum %+v, %v", sum, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			plain, err := grpc.NewClient("unix:"+p.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			_, err = v1.NewPluginServiceClient(plain).Describe(t.Context(), &v1.DescribeRequest{})
			if (err == nil) == secure {
				t.Errorf("a client without TLS: %v", err)
			}
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCheckPeer: the process at the other end is ours, but it leads no plugin's group.
func TestCheckPeer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := checkPeer(conn, os.Getpid()); err != nil {
		t.Errorf("the leader itself: %v", err)
	}
	if who := peerID(t, conn); who.pid != 0 { // this system tells the process
		if err := checkPeer(conn, 1); err == nil {
			t.Error("a process of another group was let in")
		}
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if err := checkPeer(near, os.Getpid()); err == nil {
		t.Error("a connection without a peer that could be asked was let in")
	}
}

func peerID(t *testing.T, conn net.Conn) peer {
	t.Helper()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	who, err := peerOf(raw)
	if err != nil {
		t.Fatal(err)
	}
	return who
}
