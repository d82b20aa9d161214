package wire

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// accepted returns the accepted end of a connection.
func accepted(t *testing.T, network, address string) net.Conn {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func TestSameUser(t *testing.T) {
	unix := accepted(t, "unix", filepath.Join(t.TempDir(), "s"))
	if _, _, err := SameUser().ServerHandshake(unix); err != nil {
		t.Errorf("our own user over a unix socket: %v", err)
	}
	if _, _, err := SameUser().Clone().ServerHandshake(accepted(t, "tcp", "127.0.0.1:0")); err == nil || !strings.Contains(err.Error(), "want a unix socket") {
		t.Errorf("over TCP: %v", err)
	}
	if runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
		if uid, err := peerUser(unix.(*net.UnixConn)); err != nil || uid != os.Geteuid() {
			t.Errorf("peer %d, %v, want %d", uid, err, os.Geteuid())
		}
	}
	for _, tt := range []struct {
		uid, own int
		ok       bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {1000, 0, false}} {
		if err := checkUser(tt.uid, tt.own); (err == nil) != tt.ok {
			t.Errorf("user %d at a server of %d: %v", tt.uid, tt.own, err)
		}
	}
}
