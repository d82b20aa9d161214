package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// runFlags are the flags of run.
type runFlags struct {
	selectors
	once     bool
	deadline config.Duration
	summary  string
	metrics  string
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [PIPELINE...]",
		Short: "Carry what was asked and isn't there yet",
		Long: "run fetches what the pipelines ask for and their sinks lack, and commits it slice by slice.\n" +
			"A pipeline with `follow` goes on with what closes until it is told to stop, by a signal, --deadline or --once.\n" +
			"The first SIGINT, SIGTERM or SIGHUP lets slices that move bytes finish, the second ends at once.\n\n" +
			"Exit: 0 covered, 1 failed or quarantined, 2 command line or file, 3 stopped early, 4 another run holds the state, 130 SIGINT.\n" +
			"0 also if only what came while it followed is left.",
		Example: "  sluice run\n  sluice run prod --last 24h\n  sluice run --from 2026-11-01 --to 2026-11-02 --summary run.json",
		RunE:    func(c *cobra.Command, args []string) error { return a.run(c.Context(), args, f) },
	}
	f.selectors.add(c)
	c.Flags().BoolVar(&f.firstRun, "first-run", false, "send what is asked also to sinks that keep no account and of which the ledger knows nothing")
	c.Flags().BoolVar(&f.recheck, "recheck", false, "then read again what was committed before, and commit what is new of it: records that the vendor indexed late")
	c.Flags().BoolVar(&f.once, "once", false, "end when what is asked now is covered, also with follow")
	c.Flags().Var(atLeast{time.Millisecond, &f.deadline}, "deadline", "stop early after this long (exit 3)")
	c.Flags().BoolVar(&f.newSelection, "new-selection", false,
		"let another selection (account, query, fields) into a sink's folder or bucket, apart from the first: under selection=XXXXXXXX/")
	c.Flags().StringVar(&f.summary, "summary", "", "write the summary as JSON to this file as well")
	c.Flags().StringVar(&f.metrics, "metrics-file", "", "write Prometheus text to this file while the run goes on and at its end")
	return c
}

func (a *app) run(ctx context.Context, names []string, f runFlags) error {
	started := time.Now().UTC()
	if f.summary != "" {
		if err := canWrite(f.summary); err != nil {
			return a.endedEarly(started, "", usageError(fmt.Errorf("--summary: %w", err)))
		}
	}
	h, chosen, sel, err := a.openRun(ctx, names, f)
	if err != nil {
		return a.endedEarly(started, f.summary, err)
	}
	defer h.Close()
	r := &running{app: a, host: h, started: started}
	return r.do(ctx, chosen, sel, f)
}

// openRun returns what a run needs before its pipelines begin. The caller closes the host.
func (a *app) openRun(ctx context.Context, names []string, f runFlags) (*host, []*config.Pipeline, selection, error) {
	sel, err := f.selection()
	if err != nil {
		return nil, nil, sel, err
	}
	sel.once = f.once
	c, err := a.load()
	if err != nil {
		return nil, nil, sel, err
	}
	chosen, err := choosePipelines(c, names)
	if err != nil {
		return nil, nil, sel, usageError(err)
	}
	if err := a.checkStdout(chosen, sel); err != nil {
		return nil, nil, sel, err
	}
	if f.metrics != "" {
		if err := metricsWritable(f.metrics); err != nil {
			return nil, nil, sel, err
		}
	}
	h, err := a.openHost(ctx, c)
	if err != nil {
		return nil, nil, sel, &exitError{codeOf(err), err}
	}
	h.newSelection = sel.newSelection
	return h, chosen, sel, nil
}

// choosePipelines returns the named pipelines, all without names.
func choosePipelines(c *config.Config, names []string) ([]*config.Pipeline, error) {
	var out []*config.Pipeline
	for i := range c.Pipelines {
		if len(names) == 0 || slices.Contains(names, c.Pipelines[i].Name) {
			out = append(out, &c.Pipelines[i])
		}
	}
	for _, n := range names {
		if c.Pipeline(n) == nil {
			var known []string
			for _, p := range c.Pipelines {
				known = append(known, p.Name)
			}
			return nil, fmt.Errorf("no pipeline is called %q in %s; it has %v", n, c.Path, known)
		}
	}
	return out, nil
}

// chooseOne returns the named pipeline, the only one without a name.
func chooseOne(c *config.Config, names []string) (*config.Pipeline, error) {
	all, err := choosePipelines(c, names)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		known := make([]string, len(all))
		for i, p := range all {
			known[i] = p.Name
		}
		return nil, fmt.Errorf("%s has several pipelines: name one of %v", c.Path, known)
	}
	return all[0], nil
}

// checkStdout refuses two that would write to stdout at once.
func (a *app) checkStdout(pipelines []*config.Pipeline, sel selection) error {
	users := 0
	for _, p := range pipelines {
		for _, s := range p.Sinks {
			if s.Type == "stdout" && chosen(sel.sinks, s.Name) {
				users++
			}
		}
	}
	switch {
	case users > 1:
		return usageError(errors.New("two stdout sinks would mix their records: run one pipeline, or choose with --sink"))
	case users > 0 && a.json:
		return usageError(errors.New("--json and a stdout sink both want stdout: use --summary FILE and --log-format json"))
	}
	return nil
}

// running is one run of some pipelines.
type running struct {
	app     *app
	host    *host
	started time.Time

	mu        sync.Mutex
	pipelines []*liveRun
	foreseen  []*foreseen // of its pipelines, as they came
	clocks    []saidClock // what was said of vendors' clocks
	draining  atomic.Bool
}

// liveRun is one pipeline of a run.
type liveRun struct {
	name      string
	assembled *assembled
	pipeline  *pipeline.Pipeline
	summary   *pipeline.Summary
	counts    *counts
	err       error
	ended     bool
	expected  *expected // nil: not known
}

func (r *running) do(ctx context.Context, chosen []*config.Pipeline, sel selection, f runFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := r.listen(ctx, cancel, time.Duration(f.deadline))
	defer stop.close()

	server, err := control.Serve(r.host.config.State, control.Host{Snapshot: r.snapshot, Retry: r.retry})
	if err != nil {
		r.app.log.logger.Warn("`sluice status` can't ask this run what it does", "error", err.Error())
	} else {
		defer server.Close()
	}
	out := newReporter(r.app, r)
	defer out.close()
	var wg sync.WaitGroup
	for _, c := range chosen {
		live := &liveRun{name: c.Name, counts: &counts{}}
		r.mu.Lock()
		r.pipelines = append(r.pipelines, live)
		r.mu.Unlock()
		wg.Go(func() { r.runPipeline(ctx, live, c, sel, stop.drain, out) })
	}
	monitor := r.startMetrics(f.metrics, r.host.config, chosen)
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-stop.overdue:
		// What hangs can't be ended from here, and nothing needs it: each commit is whole or isn't there.
		r.leave(stop, f.summary)
		os.Exit(stop.code())
	}
	out.close()
	total := r.total(stop)
	err = r.report(total, f.summary)
	monitor.end()
	if err != nil {
		return failedError(err)
	}
	return &exitError{code: total.Exit}
}

// lastWords is how long a run that leaves what hangs may take to tell of it: stdout or stderr may be what hangs.
const lastWords = 2 * time.Second

// leave ends a run of which something doesn't end with a summary that says so.
func (r *running) leave(stop *stopper, path string) {
	const why = "something doesn't end, such as a write to a pipe that nobody reads: leaving it"
	var words sync.WaitGroup // beside each other: what hangs may be where one of them goes
	words.Go(func() { r.app.log.logger.Error(why) })
	words.Go(func() {
		t := r.total(stop)
		t.Exit = stop.code() // as the process's
		for i, l := range r.live() {
			if !l.ended {
				t.Pipelines[i].Error = why
			}
		}
		if err := r.report(t, path); err != nil {
			r.app.log.logger.Error("the summary isn't in its file", "error", err.Error())
		}
	})
	told := make(chan struct{})
	go func() { // no longer than lastWords
		words.Wait()
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(lastWords):
	}
}

func (r *running) runPipeline(ctx context.Context, live *liveRun, c *config.Pipeline, sel selection, drain <-chan struct{}, out *reporter) {
	p, err := r.assemble(ctx, c, sel, drain, out)
	if err == nil {
		if err = p.openSpool(); err != nil {
			err = errors.Join(err, p.Close())
		}
	}
	if err != nil {
		r.ended(live, nil, err)
		if fault.KindOf(err) != fault.Canceled {
			out.pipelineFailed(c.Name, err)
		}
		return
	}
	r.recordAsked(ctx, p)
	p.run.Observe = live.counts.observe(func(e pipeline.Event) {
		if e.Kind == pipeline.Started {
			r.compareClocks(live, p)
		}
		out.event(e)
	})
	if err := mayRecheck(p, r.app.log.logger); err != nil {
		r.ended(live, nil, errors.Join(err, p.Close()))
		out.pipelineFailed(c.Name, err)
		return
	}
	if !sel.once {
		p.run.Follow, p.run.Tail = c.Follow, c.Priority == config.PriorityTail
	}
	p.run.Foresee = func(ctx context.Context, f pipeline.Forecast) { r.foresee(ctx, p, f) }
	r.mu.Lock()
	live.assembled, live.pipeline = p, pipeline.New(p.run)
	r.mu.Unlock()
	summary, err := live.pipeline.Run(ctx, drain, r.host.config.ShutdownTimeout)
	if err != nil && fault.KindOf(err) != fault.Canceled {
		out.pipelineFailed(c.Name, err)
	}
	if summary != nil && summary.TooManyDead {
		out.tooManyDead(p, summary.DeadLetters)
	}
	if e := p.Close(); e != nil && err == nil {
		r.app.log.logger.Warn("close", "pipeline", c.Name, "error", e.Error())
	}
	r.ended(live, summary, err)
}

// saidClock is a vendor's clock of which it was said how far it is ahead of this machine's.
type saidClock struct {
	source string // type
	ahead  time.Duration
}

// compareClocks warns of a vendor's clock that differs from this machine's, which decides how far is read: once for a type of source, unless it
// has another clock at another address.
func (r *running) compareClocks(live *liveRun, p *assembled) {
	if p.run.HostClock {
		return
	}
	now := time.Now()
	ahead := live.pipeline.VendorNow().Sub(now)
	text, hint := clocksDiffer(now, ahead, p.fileless)
	if text == "" {
		return
	}
	if r.newClock(saidClock{p.config.Source.Type, ahead}) {
		r.app.log.logger.Warn(live.name + ": " + text + "\n" + hint)
	}
}

// newClock reports whether nothing was said yet of a clock, and notes that it now is.
func (r *running) newClock(c saidClock) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.clocks, func(o saidClock) bool { return o.source == c.source && (o.ahead-c.ahead).Abs() < clockAhead }) {
		return false
	}
	r.clocks = append(r.clocks, c)
	return true
}

// assemble is host.assemble for a run, which doesn't fail because a vendor that is asked for names has a moment's trouble.
func (r *running) assemble(ctx context.Context, c *config.Pipeline, sel selection, drain <-chan struct{}, out *reporter) (*assembled, error) {
	for failures := 1; ; failures++ {
		p, err := r.host.assemble(ctx, c, sel, true)
		var start *startError
		if err == nil || !errors.As(err, &start) {
			return p, err
		}
		attempts := c.Retry.Attempts
		if c.Follow > 0 && !sel.once {
			attempts = math.MaxInt // what passes by itself is waited for
		}
		wait, again := pipeline.RetryStart(err, failures, attempts, c.Retry.MaxBackoff)
		if !again {
			return p, err
		}
		now := time.Now()
		out.event(pipeline.Event{
			Time: now, Kind: pipeline.Retry, Pipeline: c.Name, Message: err.Error(), Hint: fault.HintOf(err),
			Err: err, Until: now.Add(wait),
		})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-drain:
			timer.Stop()
			return p, fault.New(fault.Canceled, "start the source", "", err)
		case <-ctx.Done():
			timer.Stop()
			return p, fault.New(fault.Canceled, "start the source", "", err)
		}
	}
}

func (r *running) ended(live *liveRun, s *pipeline.Summary, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live.summary, live.err, live.ended = s, err, true
}

// stopper turns signals and the deadline into drain, then into the end.
type stopper struct {
	drain       chan struct{}
	signals     chan os.Signal
	quit        chan struct{}
	overdue     chan struct{} // closed when the end was asked for and doesn't come
	done        sync.WaitGroup
	interrupted atomic.Bool // SIGINT came
	stopped     atomic.Bool
}

// How long the end may take: of a run that was told to end at once, and of one whose slices had shutdown_timeout.
const (
	endsWithin   = 5 * time.Second
	drainsWithin = stopTime + endsWithin
)

func (r *running) listen(ctx context.Context, cancel context.CancelFunc, deadline time.Duration) *stopper {
	s := &stopper{
		drain: make(chan struct{}), overdue: make(chan struct{}), signals: make(chan os.Signal, 4), quit: make(chan struct{}),
	}
	signal.Notify(s.signals, stopSignals()...)
	// A reader of stdout that ends, as head does, is an error of a write: it must not kill the process between two commits.
	signal.Ignore(syscall.SIGPIPE)
	var timeout, late <-chan time.Time
	if deadline > 0 {
		timeout = time.After(deadline)
	}
	s.done.Go(func() {
		draining := false
		for {
			select {
			case sig := <-s.signals:
				if sig == os.Interrupt {
					s.interrupted.Store(true)
				}
				if draining {
					cancel()
					s.end()
					return
				}
				r.app.log.logger.Warn("stopping: slices that move bytes may finish; the same signal again ends at once",
					"signal", sig.String(), "shutdown_timeout", r.host.config.ShutdownTimeout)
			case <-timeout:
				timeout = nil
				if draining {
					continue
				}
				r.app.log.logger.Warn("stopping: the deadline has passed")
			case <-late:
				close(s.overdue)
				return
			case <-s.quit:
				return
			case <-ctx.Done():
				return
			}
			draining = true
			late = time.After(r.host.config.ShutdownTimeout + drainsWithin)
			s.stopped.Store(true)
			r.draining.Store(true)
			close(s.drain)
		}
	})
	return s
}

// end waits for the end that the second signal asked for; a third one waits no longer.
func (s *stopper) end() {
	timer := time.NewTimer(endsWithin)
	defer timer.Stop()
	select {
	case <-s.quit:
	case <-timer.C:
		close(s.overdue)
	case <-s.signals:
		close(s.overdue)
	}
}

// code is the exit code of a run that was stopped and doesn't end.
func (s *stopper) code() int {
	if s.interrupted.Load() {
		return exitInterrupted
	}
	return exitStopped
}

func (s *stopper) close() {
	signal.Stop(s.signals)
	close(s.quit)
	s.done.Wait()
}

// sinkOpenError says what to do about a sink that can't be opened.
func sinkOpenError(name string, err error) error {
	err = fmt.Errorf("sink %s: %w", name, err)
	if isHeld(err) {
		return &exitError{exitLocked, err}
	}
	if errors.Is(err, sinks.ErrOwned) {
		return usageError(err)
	}
	return asUsage(err)
}
