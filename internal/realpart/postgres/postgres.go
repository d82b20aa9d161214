// Package postgres starts a PostgreSQL server for tests: a cluster of its own on a free loopback port. `.ci/parts.sh postgres`
// installs it.
//
//	s := postgres.Start(t)
//	db := s.Database(t)
//	s.Kill()
//	s.Restart(t)
//
// It imports testing and is for test files only.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/internal/realpart"
)

// User and Password are those of the cluster's superuser.
const (
	User     = "postgres"
	Password = "not a/secret:@"
)

// readyWithin is generous: a loaded machine with two cores takes ten seconds.
const readyWithin = 2 * time.Minute

// Server is a running cluster. Its methods are for one goroutine at a time.
type Server struct {
	Port int
	Dir  string // of the cluster

	t    testing.TB // the server ends with it
	bin  string
	attr *syscall.SysProcAttr
	proc *realpart.Process
	made atomic.Int64
}

// Start starts a server that ends with the test, or ends the test as realpart.Need does if PostgreSQL isn't installed. Everything
// but the superuser's password is the server's default, so what it has answered survives its death.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, bin: filepath.Join(realpart.Installed(t, "postgres"), "bin"), attr: unprivileged(t)}
	// Not t.TempDir: the folders above may be closed to the server's user.
	dir, err := os.MkdirTemp(shared(), "sluice-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.attr != nil {
		for _, name := range []string{dir, password} {
			if err := os.Chown(name, int(s.attr.Credential.Uid), int(s.attr.Credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Dir = filepath.Join(dir, "cluster")
	cmd := s.command("initdb", "--pgdata="+s.Dir, "--username="+User, "--pwfile="+password, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	for range 3 { // a port may be taken between its choice and the start
		if s.Port, err = realpart.FreePort(); err != nil {
			t.Fatal(err)
		}
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// shared is a folder that every user may go into.
func shared() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.Mode()&os.ModeSticky != 0 {
		return "/dev/shm"
	}
	return "/tmp"
}

// unprivileged returns what makes a process another user's than root, which PostgreSQL refuses to be; nil if this one is already.
func unprivileged(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		}
	}
	realpart.Missing(t, "a user for postgres", "run the tests as another user than root, or add the user nobody")
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	if s.attr != nil {
		copied := *s.attr
		cmd.SysProcAttr = &copied
	}
	return cmd
}

func (s *Server) start() error {
	cmd := s.command("postgres", "-D", s.Dir, "-p", strconv.Itoa(s.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=100", "-c", "dynamic_shared_memory_type=mmap", "-c", "shared_buffers=32MB", "-c", "log_min_messages=warning")
	var err error
	s.proc, err = realpart.Start(s.t, cmd, readyWithin, func(ctx context.Context) error {
		c, err := s.connect(ctx, "postgres")
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		// It must be this server, not one that has taken the port.
		var dir string
		if err := c.QueryRow(ctx, "select current_setting('data_directory')").Scan(&dir); err != nil {
			return err
		}
		if dir != s.Dir {
			return fmt.Errorf("the server on port %d is that of %s", s.Port, dir)
		}
		return nil
	})
	return err
}

// Restart starts a server that was killed or stopped, on the same port. It ends with the test that it was first started for.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.Again(); err != nil {
		t.Fatal(err)
	}
}

// Again is Restart for a goroutine that isn't the test's own.
func (s *Server) Again() (err error) {
	for range 3 { // another process may have the port for a moment, or a child of the killed one the shared memory
		if err = s.start(); err == nil {
			return nil
		}
	}
	return err
}

// Kill ends the server and its sessions with SIGKILL, at once. A server that runs no more is left alone.
func (s *Server) Kill() {
	// Each session is a process in a group of its own; those that are in the middle of a statement would go on with it.
	sessions := children(s.proc.Pid())
	s.proc.Kill()
	for _, pid := range sessions {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Stop ends the server with all its sessions in an orderly way.
func (s *Server) Stop() { s.proc.Stop(readyWithin) }

func children(parent int) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var out []int
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended since
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(strings.Split(name, "/")[2]); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// Secure lets the server take TLS beside plain connections, with a certificate for 127.0.0.1 and localhost, and returns the file of its
// authority.
func (s *Server) Secure(t testing.TB) (caFile string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(s.Dir), "tls")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := realpart.Certificates(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cert.pem", "key.pem"} {
		file := filepath.Join(dir, name)
		if s.attr != nil {
			if err := os.Chown(file, int(s.attr.Credential.Uid), int(s.attr.Credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Exec(t, "postgres", "alter system set ssl_cert_file = '"+filepath.Join(dir, "cert.pem")+"'", "alter system set ssl_key_file = '"+filepath.Join(dir, "key.pem")+"'",
		"alter system set ssl = on", "select pg_reload_conf()")
	for deadline := time.Now().Add(readyWithin); ; { // the server reads it in its own time
		if on, err := s.Texts("postgres", "show ssl"); err == nil && on[0] == "on" {
			return filepath.Join(dir, "ca.pem")
		} else if time.Now().After(deadline) {
			t.Fatalf("the server takes no TLS: %v, %v", on, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (s *Server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=none password=none database=none sslmode=disable")
	if err != nil {
		return nil, err
	}
	c.Port, c.User, c.Password, c.Database = uint16(s.Port), User, Password, database
	c.ConnectTimeout = 5 * time.Second
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	return pgx.ConnectConfig(ctx, c)
}

// Database makes an empty database and returns its name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.made.Add(1))
	s.Exec(t, "postgres", "create database "+name+" template template0")
	return name
}

// Do runs do with a session of the superuser in a database.
func (s *Server) Do(database string, do func(ctx context.Context, c *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	c, err := s.connect(ctx, database)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, c), c.Close(ctx))
}

// Exec runs statements, each alone.
func (s *Server) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	err := s.Do(database, func(ctx context.Context, c *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := c.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Texts returns the first column of a query, each value as text.
func (s *Server) Texts(database, sql string, args ...any) ([]string, error) {
	var out []string
	err := s.Do(database, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return out, err
}
