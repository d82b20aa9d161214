package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/shm"
	"github.com/sluice-io/sluice/proto/wire"
)

// Serve runs a source as a plugin process and returns when the host is done with it. It is what main calls, and all that
// main should do: before it nothing may be written to stdout. A process that no host started, and a definition that can't
// be served, end with a message on stderr and exit code 2.
func Serve(def Definition) {
	if err := serve(def, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func serve(def Definition, stderr io.Writer) error {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		return fmt.Errorf("this is the Sluice source %q (version %s), a plugin: sluice starts it, not a person.\n"+
			"To see what it can do: sluice plugin describe %s", def.Name, def.Version, os.Args[0])
	}
	level := new(slog.LevelVar)
	// go-plugin puts pipes in the place of os.Stdout and os.Stderr; the log goes to the stderr that the host reads.
	log := newLogger(stderr, level)
	server, err := NewServer(def, log, level)
	if err != nil {
		return err
	}
	endWithHost(os.Stdin, os.Exit)
	server.shared = sharedMemory(log)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake,
		Plugins:         plugin.PluginSet{wire.PluginSetName: &servedPlugin{server: server}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			// In front: TLS, if the host asked for it, comes behind and wins.
			own := append(wire.ServerOptions(), grpc.Creds(wire.SameUser()))
			return grpc.NewServer(append(own, opts...)...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	})
	if err := server.Close(); err != nil {
		log.Warn("close the source", "error", err.Error())
	}
	return nil
}

// sharedMemory maps the memory that the host has opened for this process, nil without.
func sharedMemory(log *slog.Logger) *shm.Memory {
	number, ok := os.LookupEnv(wire.SharedMemoryVar)
	if !ok {
		return nil
	}
	fd, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		log.Warn("no shared memory: "+wire.SharedMemoryVar+" isn't the number of an open file", "value", number)
		return nil
	}
	memory, err := shm.Inherited(int(fd))
	if err != nil {
		log.Warn("no shared memory: frames go over the socket", "error", err.Error())
	}
	return memory
}

// servedPlugin registers the services with go-plugin; its broker isn't used.
type servedPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *Server
}

var _ plugin.GRPCPlugin = (*servedPlugin)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (p *servedPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	p.server.Register(s)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin.
func (p *servedPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this side only serves")
}
