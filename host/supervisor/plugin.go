package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/shm"
	"github.com/sluice-io/sluice/proto/wire"
)

// lossTime is how long a lost connection waits for the process's end, which says more.
const lossTime = time.Second

// Plugin is one running plugin process. It may be shared by parallel Reads; all methods are safe for concurrent use. When it
// ends, for whatever reason, Done is closed and every call fails with Err's error.
type Plugin struct {
	spec    Spec
	sup     *Supervisor
	proc    *process
	client  *plugin.Client
	logs    *logReader
	redact  redactor
	started time.Time

	address     string           // of its socket; empty before a good handshake
	conn        *grpc.ClientConn // nil before the handshake
	description Description
	host        *hostService // nil before Configure, or without a budget
	shared      *shm.Memory  // in which the plugin may put frames; nil: it sends them

	stopping atomic.Bool // its end is wanted
	worked   atomic.Bool // a Read has ended as it should
	tidyOnce sync.Once

	signs      signs        // of calls that ask the vendor
	answerTime atomic.Int64 // see Config.Answer; 0 before Configure

	mu         sync.Mutex
	configured bool
	limits     Limits // as Configure told them; zero before
	cause      error  // why it ended, or must end: the first wins
	reads      map[*Read]struct{}
	ended      map[flow.SliceID]struct{} // of reads that ended with the process

	done chan struct{}
}

// handshake starts the process and reads its first line.
func (p *Plugin) handshake(versions []int) error {
	addr, err := p.client.Start()
	if err != nil {
		return err
	}
	if problem := p.proc.out.check(versions, p.proc.dir); problem != nil {
		return errors.New(problem.what)
	}
	p.address = addr.String()
	// Nobody else reaches it through its folder, whatever it is itself: its mode is only what people expect to see.
	_ = os.Chmod(p.address, socketMode)
	return nil
}

// socketMode is that of the sockets between host and plugin, whatever the umask is.
const socketMode = 0o700

// connect makes the one connection to the plugin.
func (p *Plugin) connect(ctx context.Context) error {
	c, err := p.client.Client()
	if err != nil {
		return err
	}
	g, ok := c.(*plugin.GRPCClient)
	if !ok {
		return fmt.Errorf("the connection is a %T, not gRPC", c)
	}
	p.conn = g.Conn
	return ctx.Err()
}

func (p *Plugin) dialOptions() []grpc.DialOption {
	options := append(wire.DialOptions(p.shared), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return dialPlugin(ctx, p.address, p.proc.pid)
	}), grpc.WithChainStreamInterceptor(bearStdio))
	return append(options, p.sup.opts.dial...)
}

// share makes memory for the plugin's frames. Without it they go over the socket, as they do if each byte between host and plugin is to
// be encrypted.
func (p *Plugin) share() {
	if p.sup.opts.MutualTLS {
		return
	}
	memory, file, err := shm.Create()
	if err != nil {
		p.sup.opts.Log.Debug("frames go over the socket", "plugin", p.Name(), "error", err.Error())
		return
	}
	p.shared, p.proc.frame = memory, file
}

// unshare gives the memory back. Idempotent.
func (p *Plugin) unshare() {
	if p.shared == nil {
		return
	}
	// A file that was handed to the child is closed already.
	_ = p.proc.frame.Close()
	if err := p.shared.Close(); err != nil {
		p.sup.opts.Log.Warn("memory of a plugin's frames is left over", "plugin", p.Name(), "error", err.Error())
	}
}

// bearStdio words every failure to open go-plugin's stream of printed output as Unavailable. It is what go-plugin bears: after
// any other error it forgets the connection that it has made, and nobody can close it.
func bearStdio(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := next(ctx, d, c, method, o...)
	if err != nil && strings.HasPrefix(method, "/plugin.GRPCStdio/") {
		err = status.Error(codes.Unavailable, err.Error())
	}
	return stream, err
}

// dialPlugin connects to a plugin's socket and proves who listens there: our own user, in the plugin's process group.
func dialPlugin(ctx context.Context, path string, pid int) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(conn, pid); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// checkPeer refuses a connection whose other end isn't a process of our user in the group that the plugin leads.
func checkPeer(conn net.Conn, leader int) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("peer of a %T: the system doesn't tell", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	who, err := peerOf(raw)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	if who.uid != os.Getuid() {
		return fmt.Errorf("peer: user %d is at the other end of the plugin's socket, not user %d", who.uid, os.Getuid())
	}
	if who.pid == 0 || who.pid == leader {
		return nil
	}
	// A wrapper may have started the plugin proper: that one is in its group.
	group, err := syscall.Getpgid(who.pid)
	if err != nil {
		return fmt.Errorf("peer: process %d is at the other end of the plugin's socket: %w", who.pid, err)
	}
	if group != leader {
		return fmt.Errorf("peer: process %d is at the other end of the plugin's socket, which isn't of the plugin (pid %d)", who.pid, leader)
	}
	return nil
}

// frameBounds returns the most bytes of a frame, and of one that holds a single record: more than the plugin was told, for it measures records,
// not what a frame adds to them. A record may take several times its length: its fields are columns of their own, and bytes that aren't text
// take three each. Zero before Configure: the protocol's own bounds.
func (p *Plugin) frameBounds() (several, one int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limits.FrameMax == 0 {
		return 0, 0
	}
	frame, record := min(p.limits.FrameMax, wire.MaxMessage), min(p.limits.RecordMax, wire.MaxMessage)
	return int(frame + max(frame, 2<<20)), int(frame + max(frame, 2<<20) + 4*record)
}

// Name returns what people call the plugin.
func (p *Plugin) Name() string { return p.spec.String() }

// PID returns the process's number.
func (p *Plugin) PID() int { return p.proc.pid }

// Done is closed when the process has ended and nothing is left of it.
func (p *Plugin) Done() <-chan struct{} { return p.done }

// Err says why the process ended: nil while it runs and after a Stop or Close that it obeyed, else an error of kind Crash that
// names the plugin and how it ended.
func (p *Plugin) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// watch waits for the process's end and clears away what is left. It runs once a Plugin.
func (p *Plugin) watch() {
	<-p.proc.exited
	if !p.stopping.Load() {
		p.blame(func() error { return p.died() })
	}
	p.tidy() // the calls that still wait fail now
	p.unshare()
	p.mu.Lock()
	cause, host := p.cause, p.host
	p.mu.Unlock()
	if host != nil {
		host.close()
	}
	if err := os.RemoveAll(p.proc.dir); err != nil {
		p.sup.opts.Log.Warn("the folder of a plugin's sockets is left over", "plugin", p.Name(), "error", err)
	}
	if cause != nil && !p.worked.Load() && time.Since(p.started) < p.sup.opts.CrashLoop.Within {
		// Counted here, told at the next start.
		_ = p.sup.loops.failed(p.spec, cause, p.onlySlice())
	}
	p.sup.forget(p)
	close(p.done)
}

// onlySlice is the one slice that was being read when the process ended, zero if there was none, or several.
func (p *Plugin) onlySlice() (one flow.SliceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := maps.Clone(p.ended)
	if of == nil {
		of = map[flow.SliceID]struct{}{}
	}
	for r := range p.reads {
		of[r.slice.ID] = struct{}{}
	}
	if len(of) == 1 {
		for one = range of {
		}
	}
	return one
}

// tidy has go-plugin end the process by its own words and close the connection.
func (p *Plugin) tidy() { p.tidyOnce.Do(p.client.Kill) }

// abandon kills the process without a word.
func (p *Plugin) abandon() {
	p.stopping.Store(true)
	p.proc.kill()
}

// Stop ends the plugin: its Reads are asked to finish within Timeouts.Stop, then it is asked to exit, and after
// Timeouts.Exit its process group is killed. When ctx ends it is killed at once. It returns when nothing is left of it; the
// error says that it had to be killed. Idempotent.
func (p *Plugin) Stop(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.stopping.Store(true)
	p.mu.Lock()
	reads := make([]*Read, 0, len(p.reads))
	for r := range p.reads {
		reads = append(reads, r)
	}
	p.mu.Unlock()
	for _, r := range reads {
		r.Stop("the host stops")
	}
	for _, r := range reads {
		select {
		case <-r.ended:
		case <-ctx.Done():
		case <-p.proc.exited:
		}
	}
	var asked sync.WaitGroup
	if ctx.Err() == nil {
		asked.Go(p.tidy)
		timer := time.NewTimer(p.sup.opts.Timeouts.Exit)
		defer timer.Stop()
		select {
		case <-p.proc.exited:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	killed := false
	select {
	case <-p.proc.exited:
	default:
		killed = true
		p.proc.kill()
	}
	asked.Wait()
	<-p.done
	if err := p.Err(); err != nil {
		return err
	}
	if killed {
		return fault.New(fault.Crash, "plugin "+p.Name(), "the plugin ignores the request to end: tell its author",
			fmt.Errorf("didn't exit within %s and was killed (pid %d)%s", p.sup.opts.Timeouts.Exit, p.proc.pid, p.logTail()))
	}
	return nil
}

// blame sets why the plugin ended, if nobody has yet.
func (p *Plugin) blame(why func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = why()
	}
}

// fail ends a plugin that can't be trusted any more, and returns why it ended: what says this, or what was first.
func (p *Plugin) fail(what, hint string) error {
	p.blame(func() error {
		return fault.New(fault.Crash, "plugin "+p.Name(), hint, fmt.Errorf("%s (pid %d)%s", p.redact.text(what), p.proc.pid, p.logTail()))
	})
	p.proc.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// violation ends a plugin that broke the protocol.
func (p *Plugin) violation(format string, args ...any) error {
	return p.fail("broke the protocol: "+fmt.Sprintf(format, args...), "update the plugin; if that doesn't help, tell its author")
}

// died words the end of a process that nobody asked for.
func (p *Plugin) died() error {
	hint := p.proc.endHint()
	if hint == "" {
		hint = "look at the plugin's log; if it happens again, tell the plugin's author"
	}
	return fault.New(fault.Crash, "plugin "+p.Name(), hint, fmt.Errorf("ended unexpectedly: %s (pid %d)%s", p.proc.ended(), p.proc.pid, p.logTail()))
}

// logTail returns the plugin's last log lines as the end of a sentence.
func (p *Plugin) logTail() string {
	if last := p.logs.last(); last != "" {
		return "; its last log lines: " + last
	}
	return ""
}

// lost says why the connection is gone: it waits shortly for the process's end, and ends a process that lives on.
func (p *Plugin) lost(cause error) error {
	if p.exitedWithin(lossTime) {
		if p.stopping.Load() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.cause != nil {
				return p.cause
			}
			return fault.New(fault.Canceled, "plugin "+p.Name(), "", errors.New("was stopped"))
		}
		p.blame(p.died)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.cause
	}
	return p.fail("lost its connection while its process went on: "+cause.Error(), "update the plugin; if that doesn't help, tell its author")
}

func (p *Plugin) exitedWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.proc.exited:
		return true
	case <-timer.C:
		return false
	}
}

// owner names this process in the budget, so that what it held is freed or counted when it has ended.
func (p *Plugin) owner() string {
	return p.Name() + "." + strconv.Itoa(p.proc.pid) + "." + strconv.FormatInt(p.started.UnixNano(), 36)
}
