package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/spool"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// largestRecord is the longest record that a plugin may send in a batch, in bytes.
const largestRecord = 16 << 20

func (a *app) checkCommand() *cobra.Command {
	var online bool
	c := &cobra.Command{
		Use:   "check [PIPELINE...]",
		Short: "Check the config file, secrets, sources, sinks and state",
		Long: "check reads the config file, starts and configures each source without asking the vendor, and asks each sink and the\n" +
			"state folder whether they could be opened. It creates nothing and may run beside `sluice run`.\n" +
			"With --online each source proves its credentials by the vendor's cheapest call, and the vendor's clock is compared with this\n" +
			"machine's, and each sink proves that it may write where it is to, without writing. That costs a request or a few of the budget, so it needs the state: not while `sluice run` holds it.\n\n" +
			"Exit: 0 nothing is wrong, 1 the vendor refused or couldn't be reached, 2 something in the file is wrong, 4 a run holds the state.",
		Example: "  sluice check\n  sluice check prod --online",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.check(ctx, args, online) })
		},
	}
	c.Flags().BoolVar(&online, "online", false, "ask each vendor and each sink's target, too: credentials, clock and the way there")
	return c
}

// checkProblem is a line of `check --json`.
type checkProblem struct {
	V        int    `json:"v"`
	TS       string `json:"ts"`
	Event    string `json:"event"` // "problem"
	Pipeline string `json:"pipeline,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Key      string `json:"key,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

// checkedPipeline is a line of `check --json`: what a pipeline would do.
type checkedPipeline struct {
	V          int           `json:"v"`
	TS         string        `json:"ts"`
	Event      string        `json:"event"` // "pipeline_checked"
	Pipeline   string        `json:"pipeline"`
	Source     string        `json:"source"`
	Streams    []string      `json:"streams"`
	Partitions int           `json:"partitions"`
	Range      string        `json:"range"`
	Sinks      []checkedSink `json:"sinks"`
	Buffer     int64         `json:"source_buffer_bytes"`          // of each slice at work
	Spool      int64         `json:"spool_buffer_bytes,omitempty"` // of each slice at work
	Memory     int64         `json:"memory_bytes"`                 // the most that the pipeline holds at once
	Vendor     *contact      `json:"vendor,omitempty"`

	Recheck *checkedRecheck `json:"recheck,omitempty"`

	buffers int64 // of the sinks of one slice
}

type checkedSink struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Promise     string `json:"promise"`
	AtLeastOnce bool   `json:"at_least_once"`
	Buffer      int64  `json:"buffer_bytes"` // of each slice at work

	Streams   []string          `json:"streams"`
	OnFailure string            `json:"on_failure"`
	Time      map[string]string `json:"time,omitempty"`             // by stream: the columns that a record's time is taken from, the first that isn't null
	Deadline  float64           `json:"deadline_seconds,omitempty"` // that a transaction may be open
	Online    string            `json:"online,omitempty"`           // what was proved at the target
}

// checkedConfig is the last line of `check --json`.
type checkedConfig struct {
	V        int    `json:"v"`
	TS       string `json:"ts"`
	Event    string `json:"event"` // "check"
	Config   string `json:"config,omitempty"`
	State    string `json:"state,omitempty"`
	Running  bool   `json:"running"` // a run holds the state now
	Problems int    `json:"problems"`
}

// checker gathers what is wrong.
type checker struct {
	app      *app
	online   bool
	problems int
	code     int // of the worst problem
}

// problem reports an error, each line of a config's Problems by itself.
func (k *checker) problem(name string, err error) {
	code := exitUsage
	var failed *exitError
	if errors.As(err, &failed) {
		code = failed.code
	}
	k.code = worse(k.code, code)
	var all config.Problems
	if errors.As(err, &all) {
		for _, p := range all {
			k.line(p.String(), checkProblem{Pipeline: name, File: p.File, Line: p.Line, Column: p.Col, Key: p.Path, Message: p.Message, Hint: p.Hint})
		}
		return
	}
	text := err.Error()
	if name != "" {
		text = name + ": " + text
	}
	hint := fault.HintOf(err)
	if hint != "" && !strings.Contains(text, hint) {
		text += "\n  " + hint
	}
	k.line(text, checkProblem{Pipeline: name, Message: err.Error(), Hint: hint})
}

func (k *checker) line(text string, p checkProblem) {
	k.problems++
	if k.app.json {
		p.V, p.TS, p.Event = 1, stamp(time.Now()), "problem"
		k.app.printJSON(p)
		return
	}
	if k.app.logFormat == jsonLogs {
		k.app.log.logger.Error(text)
		return
	}
	fmt.Fprintln(k.app.log.out, k.app.log.redactor.Redact(text))
}

func (a *app) check(ctx context.Context, names []string, online bool) error {
	k := &checker{app: a, online: online}
	last := checkedConfig{V: 1, Event: "check"}
	c, err := a.load()
	if err == nil {
		last.Config, last.State = c.Path, c.State
		last.Running, err = k.checkAll(ctx, c, names)
	}
	if ctx.Err() != nil {
		return ctx.Err() // what was found is no whole answer
	}
	if err != nil {
		k.problem("", err)
	}
	last.TS, last.Problems = stamp(time.Now()), k.problems
	if a.json {
		a.printJSON(last)
	}
	if k.problems > 0 {
		noun := "problems"
		if k.problems == 1 {
			noun = "problem"
		}
		if !a.json {
			a.say("%d %s", k.problems, noun)
		}
		return &exitError{code: k.code}
	}
	return nil
}

// checkAll checks the state and the pipelines.
func (k *checker) checkAll(ctx context.Context, c *config.Config, names []string) (running bool, err error) {
	chosen, err := choosePipelines(c, names)
	if err != nil {
		return false, err
	}
	running, err = k.checkState(ctx, c)
	if err != nil {
		k.problem("", err)
	}
	if k.app.checkStdout(chosen, selection{}) != nil && !k.app.json {
		k.app.say("two stdout sinks can't run together: name one pipeline, or choose with --sink")
	}
	look, err := k.openLooker(ctx, c)
	if err != nil {
		if k.problems > 0 { // the state was reported
			return running, nil
		}
		return running, err
	}
	defer look.Close()
	for _, p := range chosen {
		out, errs := look.checkPipeline(ctx, p, k.online)
		if ctx.Err() != nil {
			return running, ctx.Err() // and not a problem of each pipeline that is left
		}
		for _, err := range errs {
			k.problem(p.Name, err)
		}
		if len(errs) == 0 {
			k.app.printChecked(p, out)
		}
	}
	return running, nil
}

func (k *checker) checkState(ctx context.Context, c *config.Config) (running bool, err error) {
	if err := ledger.Usable(c.State); err != nil {
		return false, err
	}
	l, err := ledger.OpenReadOnly(ctx, c.State)
	if err == nil {
		err = l.Close()
	} else if errors.Is(err, ledger.ErrNoLedger) {
		err = nil
	}
	_, asked := control.Query(ctx, c.State)
	return asked == nil, err
}

func (l *looker) checkPipeline(ctx context.Context, c *config.Pipeline, online bool) (out checkedPipeline, errs []error) {
	p, err := l.assemble(ctx, c, selection{}, false)
	if err != nil && online {
		err = vendorFailed(err) // a source may ask the vendor for names already when it is configured
	}
	if err != nil {
		return out, []error{err}
	}
	defer func() {
		if err := p.Close(); err != nil {
			errs = append(errs, err)
		}
	}()
	out = checkedPipeline{
		V: 1, TS: stamp(time.Now()), Event: "pipeline_checked", Pipeline: c.Name, Source: c.Source.Type, Streams: c.Streams,
		Partitions: len(p.run.Partitions), Range: rangeText(c),
	}
	var sized []pipeline.Sink
	for _, s := range c.Sinks {
		checked, err := l.checkSink(ctx, p, s, online)
		if err != nil {
			errs = append(errs, fmt.Errorf("sink %s: %w", s.Name, err))
			continue
		}
		out.Sinks = append(out.Sinks, checked)
		sized = append(sized, pipeline.Sink{Sink: buffered{size: checked.Buffer}, Streams: s.Streams})
	}
	if err := writable(c.DeadLetter.Path); err != nil {
		errs = append(errs, fault.New(fault.Config, "dead_letter.path", "choose a folder that can be written", err))
	}
	if online {
		if out.Vendor, err = l.contact(ctx, p); err != nil {
			errs = append(errs, vendorFailed(err))
		} else if out.Vendor.ToBound, err = l.bounds(ctx, p); err != nil {
			errs = append(errs, vendorFailed(err))
		}
	}
	// Any of the streams may be what all slices at work are of.
	for _, s := range p.streams {
		out.Buffer = max(out.Buffer, p.buffers[s.Name])
	}
	if c.Spool != nil {
		out.Spool = spool.Buffer
		if err := writable(c.Spool.Path); err != nil {
			errs = append(errs, fault.New(fault.Config, "spool.path", "choose a folder that can be written", err))
		}
	}
	out.Memory = int64(c.Flow.Parallel)*out.Spool + pipeline.Memory(c.Flow.Window, c.Flow.Parallel, largestRecord, out.Buffer, c.Streams, sized)
	out.buffers = pipeline.Buffers(c.Streams, sized)
	if out.Recheck, err = recheckOf(c, p, out.Sinks); err != nil {
		errs = append(errs, err)
	}
	if out.Recheck != nil {
		out.Memory += out.Recheck.Memory
	}
	return out, errs
}

func (l *looker) checkSink(ctx context.Context, p *assembled, s config.Sink, online bool) (checkedSink, error) {
	d, err := sinkDefinition(s.Type)
	if err != nil {
		return checkedSink{}, err
	}
	c, err := l.sinkConfig(p.config, s, takenBy(s, p.streams))
	if err != nil {
		return checkedSink{}, err
	}
	if err := d.Check(ctx, c); err != nil {
		return checkedSink{}, err
	}
	out := checkedSink{
		Name: s.Name, Type: s.Type, Promise: d.Promise, AtLeastOnce: strings.HasPrefix(d.Promise, "at least once"),
		Streams: s.Streams, OnFailure: s.OnFailure,
	}
	if d.NeedsTime {
		out.Time = timeColumns(c.Streams)
	}
	if d.Buffer != nil {
		if out.Buffer, err = d.Buffer(c); err != nil {
			return out, err
		}
	}
	info, _, err := knownSink(ctx, l.ledger, l.config, p.config, s)
	if err != nil {
		return out, err
	}
	deadline, err := l.deadlineOf(ctx, d, c, info.Identity)
	if err != nil {
		return out, err
	}
	out.Deadline = deadline.Seconds()
	if online && d.Online != nil {
		if out.Online, err = d.Online(ctx, c); err != nil {
			return out, vendorFailed(err)
		}
	}
	return out, nil
}

// timeColumns says for each stream which columns a record's time is taken from; empty for one that has none.
func timeColumns(streams []sinks.Stream) map[string]string {
	out := make(map[string]string, len(streams))
	for _, s := range streams {
		var names []string
		for _, name := range []string{flow.ColTimestamp, flow.ColObservedTimestamp} {
			if s.Schema.HasField(name) {
				names = append(names, name)
			}
		}
		out[s.Name] = strings.Join(names, ", else ")
	}
	return out
}

// writable says whether a folder is there or could be made, without making it.
func writable(dir string) error {
	st, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		st, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("%s is a file, not a folder", dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// buffered stands for a sink whose buffer is known and which isn't opened.
type buffered struct {
	sinks.Sink
	size int64
}

func (b buffered) Buffer() int64 { return b.size }

func rangeText(c *config.Pipeline) string {
	switch {
	case c.Range.Last > 0:
		return "the last " + shortDuration(c.Range.Last) + " before the vendor's now minus " + shortDuration(c.Lag)
	case c.Range.To == nil:
		return c.Range.From.Format(time.RFC3339) + " up to the vendor's now minus " + shortDuration(c.Lag)
	}
	return c.Range.From.Format(time.RFC3339) + " to " + c.Range.To.Format(time.RFC3339)
}

// rows are the lines of the table about a sink of a pipeline that reads streams.
func (s checkedSink) rows(streams []string) [][]string {
	text := s.Type + ": " + s.Promise
	if len(s.Streams) < len(streams) {
		text += "; only " + strings.Join(s.Streams, ", ")
	}
	if s.OnFailure == config.OnFailureDetach {
		text += "; the others don't wait for it"
	}
	rows := [][]string{{"  sink " + s.Name, text}}
	for _, stream := range slices.Sorted(maps.Keys(s.Time)) {
		columns := s.Time[stream]
		if columns == "" {
			columns = "none: the stream has neither timestamp nor observed_timestamp"
		}
		rows = append(rows, []string{"    time of " + stream, columns})
	}
	if s.Deadline > 0 {
		deadline := time.Duration(s.Deadline * float64(time.Second))
		rows = append(rows, []string{"    deadline", fmt.Sprintf("a transaction may be open for %s: slices are planned to end within %s",
			shortDuration(deadline), shortDuration(pipeline.SliceTime(deadline)))})
	}
	if s.Online != "" {
		rows = append(rows, []string{"    proved", printable(s.Online)})
	}
	return rows
}

func (a *app) printChecked(c *config.Pipeline, p checkedPipeline) {
	if a.json {
		a.printJSON(p)
		return
	}
	rows := [][]string{
		{"pipeline", p.Pipeline},
		{"  source", fmt.Sprintf("%s: %s, partitions: %d", p.Source, strings.Join(p.Streams, ", "), p.Partitions)},
		{"  range", p.Range},
	}
	for _, s := range p.Sinks {
		rows = append(rows, s.rows(c.Streams)...)
	}
	rows = append(rows, p.Recheck.rows()...)
	more := ""
	if c.Spool != nil {
		rows = append(rows, []string{"  spool", fmt.Sprintf("%s, at most %s", c.Spool.Path, size(uint64(c.Spool.Max)))})
		more = " + spool's buffer " + size(uint64(p.Spool))
	}
	memory := fmt.Sprintf("%s at most: window %s + %d x (largest record %s + source's buffer %s + sinks' buffers %s%s)",
		size(uint64(p.Memory)), size(uint64(c.Flow.Window)), c.Flow.Parallel, size(largestRecord), size(uint64(p.Buffer)), size(uint64(p.buffers)), more)
	if p.Recheck != nil {
		memory += " + recheck " + size(uint64(p.Recheck.Memory))
	}
	rows = append(rows, []string{"  memory", memory})
	rows = append(rows, p.Vendor.rows()...)
	_ = a.printTable(rows) // execute tells what stdout gave
}
