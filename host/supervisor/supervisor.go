// Package supervisor runs plugins as processes and is the host's end of the plugin protocol. It starts a plugin's executable
// in a process group of its own with an empty environment, proves who is at the other end of its socket, takes its log into
// the host's, notices when it ends, hangs or breaks the protocol, and makes sure that nothing of it is left. A Plugin's Read
// is a flow.Reader: batches that were validated, counted against credit and summed up.
//
//	s, err := supervisor.New(supervisor.Options{Log: log, Budget: budget})
//	p, err := s.Start(ctx, supervisor.Spec{Name: "rapid7-download"})
//	_, err = p.Configure(ctx, supervisor.Config{Settings: settings})
//	slices, err := p.Plan(ctx, gap)
//	r, err := p.Read(ctx, slices[0], supervisor.ReadOptions{Share: 32 << 20})
//
// It never retries and never starts a plugin again by itself: who holds the Plugin decides that. After Done a Plugin is dead
// and a fresh one is started from its Spec; a plugin whose starts keep failing is given up with one error.
//
// # Invariants
//
//   - The goroutine that starts a child stays locked to its thread until the child is reaped: the parent-death signal follows
//     the thread.
//   - A child is killed by its process group, and never after it was reaped.
//   - The receive loop of a Read waits for whoever takes its items only where very many small ones are queued: credit bounds their bytes, not
//     what an item takes beside them. A read whose loop waits isn't silent.
//   - A protocol violation, a hang and a lost connection kill the process: what a plugin says after that isn't heard.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

// Options is what a Supervisor is made of. The zero value of each field has the default that is said.
type Options struct {
	Budget     Budget       // what plugins ask for budget; nil: Configure offers no host service
	Log        *slog.Logger // nil: nothing is logged
	RuntimeDir string       // parent of the folder for sockets; empty: $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR, the temp folder
	WorkDir    string       // where plugins run, which relative paths in their settings are relative to; empty: this process's
	Version    string       // of this Sluice, for errors and the plugins' User-Agent
	// Environment is added to every plugin's otherwise empty environment, as "GOMEMLIMIT=100MiB".
	Environment []string
	Timeouts    Timeouts
	CrashLoop   CrashLoop
	// MutualTLS encrypts what goes over a plugin's socket, with certificates that both sides make at the start and that only they have.
	// The socket lies in a folder of our own and the peer's user and process are checked, so it protects from nobody whom these let
	// through, and takes about one CPU second a GB and about a tenth of a second a start.
	MutualTLS bool

	dial []grpc.DialOption // a seam for tests
}

// Timeouts bound how long a plugin may take. Zero fields have the defaults that are said.
type Timeouts struct {
	Start   time.Duration // until the first answer after the start: 10 s
	Silence time.Duration // without any message in a Read, and for Now beside the vendor's answer: 30 s
	Stop    time.Duration // from Stop until a Read has ended: 5 s
	Exit    time.Duration // from being asked to end until it is killed: 2 s
	Call    time.Duration // for Describe, Configure and Plan, which ask nobody: 30 s
	Ask     time.Duration // without any sign of a Check or Discover, beside the vendor's answer: 5 min
}

// CrashLoop says when a plugin is given up: after Starts failed starts (or ends soon after a start) within Within. Those in the read of one
// and the same slice count as one.
type CrashLoop struct {
	Starts int           // 5
	Within time.Duration // 1 minute
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.Timeouts.Start, 10 * time.Second},
		{&o.Timeouts.Silence, 30 * time.Second},
		{&o.Timeouts.Stop, 5 * time.Second},
		{&o.Timeouts.Exit, 2 * time.Second},
		{&o.Timeouts.Call, 30 * time.Second},
		{&o.Timeouts.Ask, 5 * time.Minute},
		{&o.CrashLoop.Within, time.Minute},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.CrashLoop.Starts <= 0 {
		o.CrashLoop.Starts = 5
	}
	return o
}

// Spec says which plugin to start.
type Spec struct {
	Name string // what the plugin must call itself: "rapid7-download"; empty: whatever it says
	// Path is the executable of an external plugin. Empty: a built-in one, which is this very program run again with the
	// arguments "plugin serve NAME".
	Path string
	Args []string // of an external plugin
}

// String returns what people call the plugin.
func (s Spec) String() string {
	if s.Name == "" {
		return filepath.Base(s.Path)
	}
	return s.Name
}

// command finds the executable. Its errors are final: trying again doesn't help.
func (s Spec) command() (path string, args []string, err error) {
	op := "plugin " + s.String()
	if s.Path == "" {
		path, err := selfPath()
		if err != nil {
			return "", nil, fault.New(fault.Config, op, "start sluice by its full path", fmt.Errorf("this program's own file isn't known: %w", err))
		}
		return path, []string{"plugin", "serve", s.Name}, nil
	}
	path, err = filepath.Abs(s.Path)
	if err != nil {
		return "", nil, fault.New(fault.Config, op, "give the plugin's full path", err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, fault.New(fault.Config, op, "install the plugin there or correct its path", fmt.Errorf("%s doesn't exist", path))
	case err != nil:
		return "", nil, fault.New(fault.Config, op, "correct the plugin's path or its folder's permissions", err)
	case info.IsDir():
		return "", nil, fault.New(fault.Config, op, "give the path of the executable in it", fmt.Errorf("%s is a folder", path))
	case info.Mode().Perm()&0o111 == 0:
		return "", nil, fault.New(fault.Config, op, "make it executable: chmod +x "+path, fmt.Errorf("%s isn't executable", path))
	}
	return path, s.Args, nil
}

// Supervisor starts plugins and holds what they share. Safe for concurrent use.
type Supervisor struct {
	opts   Options
	folder *folder
	loops  *crashLoops

	mu      sync.Mutex
	closed  bool
	plugins map[*Plugin]struct{}
	running sync.WaitGroup
}

// New makes the folder for sockets, sweeps what dead hosts left beside it, and returns a Supervisor, which must be closed.
func New(o Options) (*Supervisor, error) {
	o = o.withDefaults()
	f, err := openFolder(o.RuntimeDir)
	if err != nil {
		return nil, fault.New(fault.Config, "start plugins", "set XDG_RUNTIME_DIR or TMPDIR to a short path of a folder that you may write to", err)
	}
	return &Supervisor{opts: o, folder: f, loops: newCrashLoops(o.CrashLoop), plugins: make(map[*Plugin]struct{})}, nil
}

// Close kills the plugins that still run and removes the folder for sockets. Idempotent.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for p := range s.plugins {
		p.abandon()
	}
	s.mu.Unlock()
	s.running.Wait()
	return s.folder.Close()
}

// Start starts a plugin's process, waits for its handshake and asks it to describe itself. ctx bounds the start alone. Its
// error names the plugin, what happened and, as the hint, the remedy: kind Config if no second try can help, else Crash.
func (s *Supervisor) Start(ctx context.Context, spec Spec) (*Plugin, error) {
	if err := s.loops.allow(spec); err != nil {
		return nil, err
	}
	path, args, err := spec.command()
	if err != nil {
		return nil, err
	}
	p, err := s.launch(ctx, spec, path, args)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "plugin "+spec.String(), "", fmt.Errorf("start: %w", context.Cause(ctx)))
		}
		return nil, s.loops.failed(spec, err, flow.SliceID{})
	}
	return p, nil
}

func (s *Supervisor) launch(ctx context.Context, spec Spec, path string, args []string) (*Plugin, error) {
	dir, err := s.folder.process()
	if err != nil {
		return nil, fault.New(fault.Transient, "plugin "+spec.String(), "look at the disk's free space and the folder's permissions", err)
	}
	p := &Plugin{
		spec: spec, sup: s, started: time.Now(),
		done: make(chan struct{}), reads: make(map[*Read]struct{}),
	}
	p.logs = newLogReader(s.opts.Log.With("plugin", spec.String()), &p.redact)
	p.proc = newProcess(path, args, dir, p.logs)
	p.proc.cmd.Dir = s.opts.WorkDir
	p.share()
	versions := []int{wire.ProtocolVersion}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.ProtocolVersion: {wire.PluginSetName: stubs{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			p.proc.setEnvironment(cmd.Env, s.opts.Environment)
			return p.proc, nil
		},
		// Ours comes first and says more.
		StartTimeout:     s.opts.Timeouts.Start + time.Minute,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       strayWriter{log: p.logs, where: "standard output"},
		SyncStderr:       &lineWriter{log: p.logs},
		SkipHostEnv:      true,
		AutoMTLS:         s.opts.MutualTLS,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.folder.path},
		GRPCDialOptions:  p.dialOptions(),
	})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		p.unshare()
		return nil, errors.Join(fault.Errorf(fault.Canceled, "plugin "+spec.String(), "start: the supervisor is closed"), os.RemoveAll(dir))
	}
	s.plugins[p] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()

	startCtx, cancel := context.WithTimeout(ctx, s.opts.Timeouts.Start)
	defer cancel()
	stop := context.AfterFunc(startCtx, p.proc.kill)
	err = p.handshake(versions)
	if err == nil {
		err = p.connect(startCtx)
	}
	if err == nil {
		p.description, err = p.describe(startCtx)
	}
	if stop(); err == nil && startCtx.Err() != nil {
		err = startCtx.Err() // the process is being killed
	}
	if err == nil {
		go p.watch()
		return p, nil
	}
	// The words of the error come last: they tell how the process ended.
	failure := p.startFailure(startCtx, err, versions)
	p.stopping.Store(true)
	p.watch()
	return nil, failure
}

// startFailure words why a start failed, and ends the process if it still runs.
func (p *Plugin) startFailure(ctx context.Context, err error, versions []int) error {
	op := "plugin " + p.spec.String()
	if p.proc.pid == 0 {
		p.proc.giveUp()
		p.proc.kill()
		return p.execFailure(op, err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p.proc.kill()
		<-p.proc.exited
		after := "the handshake"
		if p.conn != nil {
			after = "its first answer"
		}
		return fault.New(fault.Crash, op, "look at the plugin's log and at the machine's load; run the plugin by hand to see whether it waits for something",
			fmt.Errorf("didn't start: waited %s for %s and killed it (pid %d)%s", p.sup.opts.Timeouts.Start, after, p.proc.pid, p.logTail()))
	}
	if problem := p.proc.out.check(versions, p.proc.dir); problem != nil {
		p.proc.kill()
		<-p.proc.exited
		return fault.New(fault.Config, op, problem.hint, fmt.Errorf("%s (%s)%s", problem.what, p.proc.cmd.Path, p.logTail()))
	}
	var known *fault.Error
	if p.conn != nil && errors.As(err, &known) && known.Kind != fault.Crash {
		p.proc.kill()
		<-p.proc.exited
		return err
	}
	if !p.exitedWithin(lossTime) {
		p.proc.kill()
		<-p.proc.exited
		return fault.New(fault.Crash, op, "look at the plugin's log", fmt.Errorf("didn't start: %w (pid %d)%s", err, p.proc.pid, p.logTail()))
	}
	hint := p.proc.endHint()
	switch {
	case hint != "":
	case p.conn == nil:
		hint = "run " + p.proc.cmd.Path + " by hand: a plugin started so says that it is one; anything else is its own error"
	default:
		hint = "look at the plugin's log"
	}
	when := "before the handshake"
	if p.conn != nil {
		when = "after the handshake"
	}
	return fault.New(fault.Crash, op, hint, fmt.Errorf("ended %s: %s (pid %d)%s", when, p.proc.ended(), p.proc.pid, p.logTail()))
}

// execFailure words why the system didn't run the executable.
func (p *Plugin) execFailure(op string, err error) error {
	path := p.proc.cmd.Path
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fault.New(fault.Config, op, "install the plugin's build for this system and processor", fmt.Errorf("%s isn't a program that this machine runs: %w", path, err))
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Config, op, "install the interpreter that its first line or its header names", fmt.Errorf("%s can't be run: its interpreter isn't there: %w", path, err))
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Config, op, "make it executable (chmod +x) on a file system that isn't mounted noexec", fmt.Errorf("%s can't be run: %w", path, err))
	}
	return fault.New(fault.Transient, op, "look at the limits on processes and open files (ulimit -u, ulimit -n)", fmt.Errorf("can't be started: %w", err))
}

// forget is called once by a plugin that has ended.
func (s *Supervisor) forget(p *Plugin) {
	s.mu.Lock()
	delete(s.plugins, p)
	s.mu.Unlock()
	s.running.Done()
}
