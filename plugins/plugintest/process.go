package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/sluice-io/sluice/proto/shm"
	"github.com/sluice-io/sluice/proto/wire"
)

// process runs a plugin as the host does: with a standard input that stays open as long as this process wants the plugin, whatever this
// process's own is, and with memory for its frames where the system has such. It implements go-plugin's runner.Runner.
type process struct {
	cmd            *exec.Cmd
	shared         *shm.Memory // nil: frames go over the socket
	stdin          *os.File    // this side's end
	theirs         []*os.File  // closed as soon as the child has them
	stdout, stderr io.ReadCloser
}

// newProcess prepares a process without starting it. The caller closes it.
func newProcess(command, env []string) (p *process, err error) {
	p = &process{cmd: exec.Command(command[0], command[1:]...)}
	p.cmd.Env = env
	var in *os.File
	if in, p.stdin, err = os.Pipe(); err != nil {
		return nil, err
	}
	p.cmd.Stdin, p.theirs = in, []*os.File{in}
	var frames *os.File
	switch p.shared, frames, err = shm.Create(); {
	case err == nil:
		p.theirs = append(p.theirs, frames)
		p.cmd.ExtraFiles = []*os.File{frames}
		p.cmd.Env = append(p.cmd.Env, wire.SharedMemoryVar+"=3") // the first behind the standard ones
	case !errors.Is(err, shm.ErrUnsupported):
		return nil, errors.Join(err, p.close())
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err == nil {
		p.stderr, err = p.cmd.StderrPipe()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// close gives the files and the memory back. Idempotent.
func (p *process) close() error {
	for _, f := range append(p.theirs, p.stdin) {
		_ = f.Close() // may be closed already
	}
	if p.shared == nil {
		return nil
	}
	return p.shared.Close()
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	err := p.cmd.Start()
	for _, f := range p.theirs {
		_ = f.Close()
	}
	return err
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error { return p.cmd.Wait() }

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	if p.cmd.Process == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name implements runner.Runner.
func (p *process) Name() string { return p.cmd.Path }

// ID implements runner.Runner.
func (p *process) ID() string {
	if p.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string {
	return fmt.Sprintf("is %s a plugin for this machine? It must serve by plugins.Serve, or by go-plugin with the handshake of docs/protocol.md", p.cmd.Path)
}

// PluginToHost implements runner.AddrTranslator: both sides see the same files.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
