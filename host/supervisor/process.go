package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/sluice-io/sluice/proto/wire"
)

// drainTime is how long the output of an ended plugin is read on: a process that left the group may hold the pipe open.
const drainTime = 2 * time.Second

// process is one run of a plugin's executable: it starts it, reads its output, kills it and tells how it ended. go-plugin
// drives it as its runner for the handshake.
type process struct {
	cmd   *exec.Cmd
	dir   string // 0700, for its sockets
	pid   int    // valid after Start
	out   *handshakeReader
	log   *logReader
	pipes []*os.File // our ends; closed by run
	frame *os.File   // of the memory for frames, nil without; closed by Start

	mu     sync.Mutex
	begun  bool // run runs, or never will
	group  int  // the process group while it may be killed, else 0
	killed bool // by us

	state  *os.ProcessState // valid after exited
	exited chan struct{}    // closed when the process is reaped and its output read
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares a process; it isn't started.
func newProcess(path string, args []string, dir string, log *logReader) *process {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = processAttributes()
	return &process{cmd: cmd, dir: dir, log: log, out: newHandshakeReader(log), exited: make(chan struct{})}
}

// setEnvironment takes what go-plugin tells the child, of which only what the handshake needs is kept.
func (p *process) setEnvironment(environment, extra []string) {
	p.cmd.Env = pluginEnvironment(p.dir, environment, extra)
	if p.frame != nil {
		p.cmd.ExtraFiles = []*os.File{p.frame}
		p.cmd.Env = append(p.cmd.Env, wire.SharedMemoryVar+"=3") // the first behind the standard ones
	}
}

// pluginEnvironment is all that a plugin's environment holds: the cookie, the protocol versions, the folders, and what the
// host chose (GOMEMLIMIT and the like). Nothing of the host's own environment gets in.
func pluginEnvironment(dir string, environment, extra []string) []string {
	env := slices.DeleteFunc(slices.Clone(environment), func(v string) bool {
		return strings.HasPrefix(v, "PLUGIN_MIN_PORT=") || strings.HasPrefix(v, "PLUGIN_MAX_PORT=") || strings.HasPrefix(v, "PLUGIN_UNIX_SOCKET_DIR=")
	})
	env = append(env, "PLUGIN_UNIX_SOCKET_DIR="+dir, "TMPDIR="+filepath.Join(dir, "tmp"))
	return append(env, extra...)
}

// begin reports whether the caller is the first, who has to see to it that exited is closed.
func (p *process) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := !p.begun
	p.begun = true
	return first
}

// giveUp ends a process that nobody has started: there is nothing to wait for. Idempotent.
func (p *process) giveUp() {
	if p.begin() {
		p.out.end()
		close(p.exited)
	}
}

// Start implements runner.Runner. It returns when the child runs or could not be started.
func (p *process) Start(context.Context) error {
	var theirs []*os.File
	var err error
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	inR, inW := pipe()
	outR, outW := pipe()
	errR, errW := pipe()
	theirs = append(theirs, inR, outW, errW, p.frame)
	p.pipes = append(p.pipes, inW, outR, errR)
	if err != nil {
		closeAll(append(theirs, p.pipes...))
		return fmt.Errorf("pipes for a plugin: %w", err)
	}
	// Nothing is ever written to its standard input: its end tells a plugin that the host is gone.
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inR, outW, errW
	if !p.begin() {
		closeAll(append(theirs, p.pipes...))
		return errors.New("a plugin that was given up")
	}
	started := make(chan error, 1)
	go p.run(started, outR, errR)
	err = <-started
	closeAll(theirs)
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// run lives as long as the child. It never gives its thread back before that: the parent-death signal follows the thread.
func (p *process) run(started chan<- error, stdout, stderr *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore := easeTimers()
	err := p.cmd.Start()
	restore()
	if err != nil {
		p.out.end()
		closeAll(p.pipes)
		close(p.exited)
		started <- err
		return
	}
	p.pid = p.cmd.Process.Pid
	p.log.setPID(p.pid)
	p.mu.Lock()
	p.group = p.pid
	early := p.killed
	p.mu.Unlock()
	if early {
		p.kill()
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.out.run(stdout) })
	readers.Go(func() { p.log.run(stderr) })
	started <- nil

	if awaitExit(p.pid) {
		p.buryGroup() // while its number can't be another's
	}
	// The error of Wait says no more than the state.
	_ = p.cmd.Wait()
	p.buryGroup()
	p.state = p.cmd.ProcessState
	deadline := time.Now().Add(drainTime)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	readers.Wait()
	closeAll(p.pipes)
	close(p.exited)
}

// kill ends the whole process group at once. Idempotent; it doesn't wait.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.group > 0 {
		_ = syscall.Kill(-p.group, syscall.SIGKILL)
	}
}

// buryGroup kills what the ended process left in its group; kill does nothing after that.
func (p *process) buryGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.group > 0 {
		_ = syscall.Kill(-p.group, syscall.SIGKILL)
		p.group = 0
	}
}

func (p *process) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// ended says how the process ended: "exit code 3", "signal SIGSEGV". It waits for the end.
func (p *process) ended() string {
	<-p.exited
	if p.state == nil {
		return "not started"
	}
	if ws, ok := p.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return "signal " + signalName(ws.Signal())
	}
	return "exit code " + strconv.Itoa(p.state.ExitCode())
}

// endHint is what an operator can do about the way in which the process ended.
func (p *process) endHint() string {
	if p.state == nil || p.wasKilled() {
		return ""
	}
	if ws, ok := p.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return "somebody or the kernel's out-of-memory killer ended it: look at dmesg and at the machine's or container's memory limit"
	}
	return ""
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	if p.state == nil || !p.state.Success() {
		return errors.New(p.ended())
	}
	return nil
}

// Kill implements runner.Runner. It does nothing: the supervisor kills, after it has seen how a process ended by itself.
func (p *process) Kill(context.Context) error { return nil }

// Stdout implements runner.Runner: the handshake line, then the end.
func (p *process) Stdout() io.ReadCloser { return io.NopCloser(p.out) }

// Stderr implements runner.Runner. go-plugin gets nothing of it: the log has its own reader.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID implements runner.Runner.
func (p *process) ID() string { return strconv.Itoa(p.pid) }

// Diagnose implements runner.Runner; the supervisor words its errors itself.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator: host and plugin see the same files.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// signalName returns "SIGKILL" where the system's own word is "killed".
func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGABRT: "SIGABRT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGHUP: "SIGHUP",
		syscall.SIGILL: "SIGILL", syscall.SIGINT: "SIGINT", syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE",
		syscall.SIGQUIT: "SIGQUIT", syscall.SIGSEGV: "SIGSEGV", syscall.SIGTERM: "SIGTERM", syscall.SIGTRAP: "SIGTRAP",
	}
	if n, ok := names[s]; ok {
		return n
	}
	return fmt.Sprintf("%d (%s)", int(s), s)
}
