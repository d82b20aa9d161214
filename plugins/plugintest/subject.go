package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-io/sluice/internal/pace"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// subject is a running, configured plugin.
type subject struct {
	opts        Options
	conn        *grpc.ClientConn
	plugin      v1.PluginServiceClient
	source      v1.SourceServiceClient
	description *v1.DescribeResponse
	configure   *v1.ConfigureRequest
	stderr      *buffer
	shared      *shm.Memory // in which it may put frames, or nil
	end         func() error

	mu     sync.Mutex
	errors []string // the text of every error that the plugin answered with
}

// start runs the plugin and configures it as a newer host would, with a feature that it can't know.
func start(ctx context.Context, o Options) (*subject, error) {
	if (o.Definition == nil) == (len(o.Command) == 0) {
		return nil, errors.New("want exactly one of Definition and Command")
	}
	s := &subject{opts: o, stderr: &buffer{}}
	run := s.startProcess
	if o.Definition != nil {
		run = s.startHere
	}
	if err := run(ctx); err != nil {
		return nil, err
	}
	s.plugin, s.source = v1.NewPluginServiceClient(s.conn), v1.NewSourceServiceClient(s.conn)
	var err error
	if s.description, err = s.plugin.Describe(ctx, &v1.DescribeRequest{}); err != nil {
		return nil, errors.Join(fmt.Errorf("describe: %w", err), s.close())
	}
	s.configure = &v1.ConfigureRequest{
		ProtocolVersion: wire.ProtocolVersion,
		Features:        append(wire.Features(s.shared), "from_the_future"),
		Config:          o.Settings,
		LogLevel:        "debug",
	}
	if _, err := s.plugin.Configure(ctx, s.configure); err != nil {
		return nil, errors.Join(fmt.Errorf("configure: %w", err), s.close())
	}
	return s, nil
}

// startHere serves the definition in this process over a unix socket, as a plugin process would.
func (s *subject) startHere(context.Context) error {
	dir, err := os.MkdirTemp("", "sluice-plugintest")
	if err != nil {
		return err
	}
	server, err := plugins.NewServer(*s.opts.Definition, slog.New(slog.NewJSONHandler(s.stderr, nil)), nil)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	// The times are the SDK's to keep, and a process is served with them. What a source does when they are over doesn't depend on how long they are.
	quick := pace.Protocol()
	quick.Silence, quick.Stop = 250*time.Millisecond, 500*time.Millisecond
	server.SetPace(quick)
	socket := filepath.Join(dir, "plugin")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	g := grpc.NewServer(append(wire.ServerOptions(), grpc.Creds(wire.SameUser()))...)
	server.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	s.conn, err = grpc.NewClient("unix:"+socket, append(wire.DialOptions(nil), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	s.end = func() error {
		g.Stop()
		return errors.Join(<-served, server.Close(), os.RemoveAll(dir))
	}
	if err != nil {
		return errors.Join(err, s.end())
	}
	return nil
}

// startProcess runs the command as a go-plugin host does.
func (s *subject) startProcess(context.Context) error {
	dir, err := os.MkdirTemp("", "sluice-plugintest")
	if err != nil {
		return err
	}
	p, err := newProcess(s.opts.Command, s.opts.Env)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	s.shared = p.shared
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: wire.Handshake,
		Plugins:         plugin.PluginSet{wire.PluginSetName: connPlugin{}},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			p.cmd.Env = append(p.cmd.Env, spec.Env...)
			return p, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  wire.DialOptions(p.shared),
		SkipHostEnv:      true,
		Stderr:           s.stderr,
		SyncStderr:       s.stderr,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
	})
	s.end = func() error {
		client.Kill()
		return errors.Join(p.close(), os.RemoveAll(dir))
	}
	protocol, err := client.Client()
	if err != nil {
		return errors.Join(fmt.Errorf("%w\n%s", err, s.stderr.String()), s.end())
	}
	conn, err := protocol.Dispense(wire.PluginSetName)
	if err != nil {
		return errors.Join(err, s.end())
	}
	s.conn = conn.(*grpc.ClientConn)
	return nil
}

// close ends the plugin.
func (s *subject) close() error {
	err := s.conn.Close()
	return errors.Join(err, s.end())
}

// note keeps an error's text for the check of secrets and returns err.
func (s *subject) note(err error) error {
	if err != nil {
		s.mu.Lock()
		s.errors = append(s.errors, err.Error())
		s.mu.Unlock()
	}
	return err
}

// connPlugin hands the connection out: the stubs are made here.
type connPlugin struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements plugin.GRPCPlugin.
func (connPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this side only calls")
}

// GRPCClient implements plugin.GRPCPlugin.
func (connPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// buffer is a bytes.Buffer for concurrent writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
