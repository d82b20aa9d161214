// Command sluice moves vendor logs into places where people can work with them, and can prove that it did.
//
// It only parses flags and wires: sources are plugins (plugins/...), sinks are sinks/..., and what happens between them is
// host/pipeline. It is the only importer of concrete sinks and vendors.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/pipeline"
)

// gcPercent is what the heap may grow by between collections, half of Go's default: most of it is blocks of a pipeline's
// window, and when a sink goes by fits and starts those that were let go stand beside those that came in their place. There is
// little to look through, so that it costs no throughput.
const gcPercent = 50

// startPercent lets a heap grow to 16 MiB before it is collected for the first time: most commands, and the start of all, need no more,
// and collections on the way there are a fifth of what a start costs.
const startPercent = 400

// tuneCollector sets startPercent, and gcPercent from the first collection on.
func tuneCollector(getenv func(string) string) {
	if getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(startPercent)
	collected := new([32]byte) // not so small that it shares a block with something that lives
	runtime.AddCleanup(collected, func(percent int) { debug.SetGCPercent(percent) }, gcPercent)
}

func main() { os.Exit(Main()) }

// Main runs the command line of this process and returns its exit code.
func Main() int {
	tuneCollector(os.Getenv)
	return execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// execute runs one command line.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv}
	return a.execute(ctx, args)
}

func (a *app) execute(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	var code *exitError
	switch {
	case err == nil, a.printErr != nil && errors.Is(err, a.printErr), errors.As(err, &code) && code.code == exitOK:
		return a.endOfOutput()
	case errors.As(err, &code):
		if code.err != nil {
			a.printError(code.err)
		}
		return code.code
	}
	a.printError(err) // cobra's own: an unknown command or flag
	return exitUsage
}

// endOfOutput is the exit code of a command that had nothing but its output to fail with. A reader that has gone, as head does, has
// seen what it wanted.
func (a *app) endOfOutput() int {
	a.printMu.Lock()
	defer a.printMu.Unlock()
	if a.printErr == nil || isReaderGone(a.printErr) {
		return a.exit
	}
	a.printError(fmt.Errorf("standard output: %w", a.printErr))
	return worse(a.exit, exitFailed)
}

// app is what every command shares.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	// Global flags.
	file      string
	json      bool
	quiet     bool
	logLevel  string
	logFormat string

	// Seams for tests.
	step         func(pipeline.Step) // see pipeline.Config
	silence      time.Duration       // see supervisor.Timeouts; 0: its own
	metricsEvery time.Duration       // 0: metricsEvery

	printMu  sync.Mutex // of what is printed on stdout
	printErr error      // the first that stdout gave

	exit int // of a command that ended without an error
	log  logging
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Moves vendor logs into places where people can work with them, and can prove that it did",
		Long: "Sluice downloads vendor logs through plugin processes and commits them atomically into sinks.\n" +
			"Nothing is lost and nothing is there twice: `sluice demo` shows it without an account.",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.startLogging()
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&a.file, "file", "f", "", "config file (default: $SLUICE_CONFIG, ./sluice.yaml, the XDG folder, /etc/sluice)")
	flags.BoolVar(&a.json, "json", false, "print JSON lines to stdout")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print errors and what was asked for only")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&a.logFormat, "log-format", "text", "text, or json: each line on stderr is an object, errors and a run's summary, too")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
	})
	root.AddCommand(a.runCommand(), a.pluginCommand(), a.versionCommand())
	a.addCommands(root)
	return root
}
