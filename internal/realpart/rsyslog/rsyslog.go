// Package rsyslog starts a real rsyslogd for tests: a TCP listener and a TLS one on loopback, and a file with every message as it came.
// rsyslog escapes control characters as #ooo, which is undone here (so messages can't have a # before three octal digits), and drops a
// line feed at the end.
package rsyslog

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart"
)

// begin and end stand around each message in the file: one that a kill has cut short lacks its end.
const begin, end = "\x1d", "\x1e\n"

// Server is an rsyslogd with a folder of its own.
type Server struct {
	Address string // plain TCP
	Secure  string // TLS
	CAFile  string // what the certificate of Secure is verified by; its name is localhost

	dir, part string
	process   *realpart.Process
}

// Options are what differs from a plain server.
type Options struct {
	Direct bool // no queue: a message is in the file before the next is read, so that a connection is closed when all of its are there
}

// Start starts a server with its own ports and folder, ended with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith starts a server with options.
func StartWith(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir(), part: realpart.Installed(t, "rsyslog")}
	s.CAFile = filepath.Join(s.dir, "ca.pem")
	if err := realpart.Certificates(s.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 3 { // someone else may take a port before rsyslogd does
		if err = s.configure(o); err != nil {
			t.Fatal(err)
		}
		if err = s.start(t); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func (s *Server) configure(o Options) error {
	ports, err := realpart.FreePorts(2)
	if err != nil {
		return err
	}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	s.Secure = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1]))
	queue := ""
	if o.Direct {
		queue = `main_queue(queue.type="Direct")`
	}
	text := strings.NewReplacer("QUEUE", queue, "DIR", s.dir, "PLAIN", strconv.Itoa(ports[0]), "SECURE", strconv.Itoa(ports[1])).Replace(`
global(workDirectory="DIR" maxMessageSize="256k"
       defaultNetstreamDriverCAFile="DIR/ca.pem" defaultNetstreamDriverCertFile="DIR/cert.pem" defaultNetstreamDriverKeyFile="DIR/key.pem")
QUEUE
module(load="imtcp" maxSessions="2000")
template(name="exact" type="string" string="\035%rawmsg%\036\n")
input(type="imtcp" port="PLAIN" address="127.0.0.1" streamDriver.name="ptcp" streamDriver.mode="0")
input(type="imtcp" port="SECURE" address="127.0.0.1" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
if $inputname == "imtcp" then action(type="omfile" file="DIR/messages" template="exact" flushOnTXEnd="on")
`)
	return os.WriteFile(filepath.Join(s.dir, "rsyslog.conf"), []byte(text), 0o600)
}

func (s *Server) start(t testing.TB) error {
	lib := filepath.Join(s.part, "lib")
	cmd := exec.Command(filepath.Join(s.part, "root", "usr", "sbin", "rsyslogd"), "-n", "-iNONE",
		"-f", filepath.Join(s.dir, "rsyslog.conf"), "-M", filepath.Join(lib, "rsyslog"))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib)
	var err error
	s.process, err = realpart.Start(t, cmd, time.Minute, realpart.Listens(s.Address))
	return err
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.process.Kill() }

// Stop ends the server in good order: it handles what it has read.
func (s *Server) Stop() { s.process.Stop(30 * time.Second) }

// Restart starts it again, on the same ports and with the same file.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(t); err != nil {
		t.Fatal(err)
	}
}

// Written is how many bytes the file has.
func (s *Server) Written() int {
	info, err := os.Stat(filepath.Join(s.dir, "messages"))
	if err != nil {
		return 0 // it isn't there yet
	}
	return int(info.Size())
}

// Messages returns the messages that are in the file. A message that a kill has cut short in the file is left out.
func (s *Server) Messages() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "messages"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parts := bytes.Split(b, []byte(end))
	out := make([]string, 0, len(parts))
	for _, m := range parts[:len(parts)-1] {
		whole := m[bytes.LastIndex(m, []byte(begin))+len(begin):]
		out = append(out, escaped.ReplaceAllStringFunc(string(whole), func(code string) string {
			c, _ := strconv.ParseUint(code[1:], 8, 8) // the pattern holds nothing else
			return string([]byte{byte(c)})
		}))
	}
	return out, nil
}

var escaped = regexp.MustCompile(`#[01][0-7][0-7]`)

// Log returns the end of what the server printed.
func (s *Server) Log() string { return s.process.Log() }
