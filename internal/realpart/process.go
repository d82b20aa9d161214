package realpart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a server that a test has started, in a process group of its own.
type Process struct {
	cmd    *exec.Cmd
	log    *tail
	exited chan struct{}
	err    error // of Wait; valid after exited is closed
}

// Start starts a program and returns when ready says so, asked again and again until the time is over. The whole group is killed at
// the end of the test, and a test that has failed shows the end of what it printed. A program that ends before it is ready is an
// error; so is one that isn't ready in time.
func Start(t testing.TB, cmd *exec.Cmd, within time.Duration, ready func(ctx context.Context) error) (*Process, error) {
	t.Helper()
	p := &Process{cmd: cmd, log: &tail{}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = 5 * time.Second // a grandchild may hold the pipe
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", cmd.Path, p.log)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return p, nil
		}
		select {
		case <-p.exited:
			return nil, fmt.Errorf("%s has ended (%w) before it was ready:\n%s", cmd.Path, p.err, p.log)
		case <-ctx.Done():
			p.Kill()
			return nil, fmt.Errorf("%s is not ready after %s: %w\n%s", cmd.Path, within, err, p.log)
		case <-tick.C:
		}
	}
}

// Kill ends the process group with SIGKILL and waits for the process. Idempotent.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Stop ends the process group with SIGTERM, with SIGKILL if it takes too long, and waits for it.
func (p *Process) Stop(within time.Duration) {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(within):
	}
	p.Kill()
}

func (p *Process) signal(s syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, s)
	<-p.exited
}

// Pid returns the process's ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Log returns the end of what the process printed.
func (p *Process) Log() string { return p.log.String() }

// FreePort returns a loopback port that nobody listened on a moment ago. A server that can choose its own port should: between this
// call and the server's start someone else may take it, and then the start is tried again with another.
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// FreePorts returns n different ports, as FreePort does.
func FreePorts(n int) (ports []int, err error) {
	for range n {
		l, failed := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, l.Close()) }() // after all are chosen
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Listens is a ready function for a server on a TCP address.
func Listens(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		return errors.Join(err, closeConn(c))
	}
}

func closeConn(c net.Conn) error {
	if c == nil {
		return nil
	}
	return c.Close()
}

// tail keeps the last part of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailBytes = 16 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	if extra := l.buf.Len() - 2*tailBytes; extra > 0 {
		l.buf.Next(l.buf.Len() - tailBytes)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buf.Bytes()
	return string(b[max(0, len(b)-tailBytes):])
}
