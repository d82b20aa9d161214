package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Pipeline is one pipeline's run. Make one with New, and Run it once.
type Pipeline struct{ run *run }

// New returns a pipeline that is ready to run.
func New(cfg Config) *Pipeline { return &Pipeline{newRun(cfg)} }

// Run carries what was asked until it is covered, given up, or told to stop, and says how it went.
//
// When drain is closed no slice starts any more, slices that only wait end at once, and those that move bytes may finish
// within grace. When ctx ends everything ends at once. Neither charges a slice. The error is of the pipeline as a whole,
// such as a wrong key; failures of slices are in the Summary.
func (p *Pipeline) Run(ctx context.Context, drain <-chan struct{}, grace time.Duration) (*Summary, error) {
	defer p.run.close()
	return p.run.do(ctx, drain, grace)
}

type run struct {
	cfg     Config
	clock   *vendorClock
	parts   []*partition
	asked   flow.Range // up to the horizon when the run began, or to a `to` that has passed
	ahead   bool       // the range was cut at the horizon
	turn    int        // the partition to look at first
	results chan outcome
	running int
	summary Summary
	fatal   error // stops the pipeline
	ending  bool  // told to stop: slices that end with a Canceled were ended by us

	srcMu   sync.Mutex
	src     Source
	leaving sync.WaitGroup // plugins that are being closed

	// workMu guards what Snapshot sees: the partitions' work and its fields. Only the loop writes them, so only its writes and
	// Snapshot's reads take it.
	workMu sync.Mutex
	obsMu  sync.Mutex
	cancel map[*work]context.CancelFunc
	starts int // failed starts of the plugin in a row

	sinks   []sinkState
	sampler sampler

	foresight     foresight
	lackedAtFirst time.Duration // of log time, by some sink, when the run began

	adrift  *adrift
	opens   chan opened
	pending int  // sinks that are being opened
	tried   bool // what started last was a try whether a sink is back
	idle    bool // nothing is left but what sinks lack that are down

	spoolFull atomic.Bool                 // and told
	kept      map[flow.SliceID]flow.Slice // in the spool for sinks that lack them; the loop's, with workMu held
	deadMu    sync.Mutex                  // held while the folder of dead letters is made
	late      late
	meterMu   sync.Mutex // guards the partitions' meters
	follow    follow
	nudges    chan nudge
	over      chan struct{} // closed when the run has ended
}

func newRun(cfg Config) *run {
	r := &run{
		cfg: cfg, summary: Summary{Pipeline: cfg.Name}, clock: newVendorClock(), results: make(chan outcome, cfg.Parallel),
		cancel: map[*work]context.CancelFunc{}, sinks: make([]sinkState, len(cfg.Sinks)), opens: make(chan opened, len(cfg.Sinks)),
		adrift: newAdrift(len(cfg.Sinks)), follow: follow{ticks: make(chan tick)}, nudges: make(chan nudge), over: make(chan struct{}),
		sampler: sampler{grace: sampleGrace},
	}
	r.cfg.Sinks = slices.Clone(cfg.Sinks) // Open puts others in their place
	for _, p := range cfg.Partitions {
		part := &partition{Partition: p, covered: make([]flow.Ranges, len(cfg.Sinks)), work: map[*work]struct{}{}}
		for i := range cfg.Sinks {
			if cfg.Sinks[i].takes(p.Stream) {
				part.takers |= setOf(i)
			}
		}
		r.parts = append(r.parts, part)
	}
	return r
}

func (r *run) do(ctx context.Context, drain <-chan struct{}, grace time.Duration) (*Summary, error) {
	defer close(r.over)
	r.summary.Started = time.Now().UTC()
	err := r.cfg.Validate()
	if err == nil {
		err = r.prepare(ctx, drain)
	}
	if err == nil {
		r.observe(Event{Kind: Started, Message: r.startedMessage()})
		r.foresee(ctx)
		err = r.loop(ctx, drain, grace)
	}
	r.finish(err)
	return &r.summary, err
}

// prepare asks the vendor's clock, fixes the asked range and heals the ledger.
func (r *run) prepare(ctx context.Context, drain <-chan struct{}) error {
	if err := r.firstContact(ctx, drain); err != nil {
		return err
	}
	err := r.cfg.Ledger.RecordVersions(ctx, r.cfg.Name, ledger.Versions{Sluice: r.cfg.Version, Source: r.cfg.SourceName, SourceVersion: r.cfg.SourceVer})
	if err != nil {
		return err
	}
	r.workMu.Lock()
	r.ask()
	err = r.resume(ctx)
	r.workMu.Unlock()
	if err != nil {
		return err
	}
	if err := r.openAll(ctx, drain); err != nil {
		return err
	}
	for i := range r.sinks {
		if err := r.mayBegin(ctx, i); err != nil {
			return err
		}
	}
	if err := r.sweepDead(ctx, all); err != nil {
		return err
	}
	r.workMu.Lock()
	defer r.workMu.Unlock()
	for _, p := range r.parts {
		p.asked = r.asks(p)
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	for _, p := range r.parts {
		r.lackedAtFirst += p.lacking().Duration()
	}
	r.beginFollow()
	return r.sweepSpool(ctx)
}

// firstContact starts the plugin and asks the vendor's clock. What may pass is tried again as often as a slice is.
func (r *run) firstContact(ctx context.Context, drain <-chan struct{}) error {
	for failures := 1; ; failures++ {
		src, err := r.contact(ctx, drain)
		if err == nil || r.summary.Stopped {
			return err
		}
		err = unasked(ctx, err)
		v := r.cfg.decide(err, r.patient(err, failures))
		if v.action != actRetry && v.action != actWait {
			return err
		}
		if v.fresh {
			r.retire(src)
		}
		wait := max(v.wait, r.cfg.backoff(failures))
		r.observe(Event{Kind: Retry, Err: err, Message: err.Error(), Hint: fault.HintOf(err), Until: time.Now().Add(wait)})
		if err := r.pause(ctx, drain, wait, err); err != nil {
			return err
		}
	}
}

// contact is one try of firstContact. A plugin may take long to answer, so it ends when the run is told to stop.
func (r *run) contact(ctx context.Context, drain <-chan struct{}) (Source, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan tick, 1)
	go func() { // waited for below
		src, err := r.source(ctx)
		if err == nil {
			err = r.clock.ask(ctx, src, r.cfg.HostClock)
		}
		done <- tick{src, err}
	}()
	select {
	case t := <-done:
		return t.src, t.err
	case <-drain:
	}
	cancel()
	t := <-done
	if t.err != nil {
		r.summary.Stopped = true
		t.err = fault.New(fault.Canceled, "start", "", t.err)
	}
	return t.src, t.err
}

// ask fixes the asked range: never later than the vendor's now minus lag, but for a `to` that has passed by less than
// lag: that is waited for and read whole.
func (r *run) ask() {
	now, horizon := r.clock.Now(), r.clock.horizon(r.cfg.Lag)
	to := r.cfg.To
	r.ahead = !to.IsZero() && to.After(now)
	if to.IsZero() || r.ahead {
		to = horizon
	}
	from := r.cfg.From
	if r.cfg.Last > 0 {
		from = to.Add(-r.cfg.Last)
		if r.cfg.Follow > 0 && !r.asked.From.IsZero() && r.asked.From.Before(from) {
			from = r.asked.From // what was asked stays asked
		}
	}
	r.asked = flow.Range{From: from.UTC().Truncate(time.Millisecond), To: to.UTC()}
	if r.asked.Empty() {
		r.asked.To = r.asked.From
	}
}

func (r *run) startedMessage() string {
	horizon := r.clock.horizon(r.cfg.Lag)
	switch {
	case r.follows():
		return fmt.Sprintf("%s: up to the vendor's clock minus lag, then what closes, every %s", r.asked, r.cfg.Follow)
	case r.asked.Empty():
		return fmt.Sprintf("nothing to do: the range begins at %s, and the vendor's clock minus lag is %s",
			r.asked.From.Format(time.RFC3339), horizon.Format(time.RFC3339))
	case r.ahead:
		return fmt.Sprintf("%s: `to` is still ahead, so up to the vendor's clock minus lag", r.asked)
	case r.cfg.To.IsZero():
		return fmt.Sprintf("%s: up to the vendor's clock minus lag", r.asked)
	}
	return r.asked.String()
}

func (r *run) loop(ctx context.Context, drain <-chan struct{}, grace time.Duration) error {
	var graceOver <-chan time.Time
	opening, cancelOpening := context.WithCancel(ctx)
	defer func() {
		cancelOpening()
		r.endOpening(ctx)
		if r.follow.asking {
			<-r.follow.ticks
		}
	}()
	draining := false
	defer func() { r.endSampling(draining || ctx.Err() != nil) }()
	defer func() { r.endForesight(draining || ctx.Err() != nil) }()
	stop := func() {
		draining, r.ending = true, true
		r.endWaiting()
		timer := time.NewTimer(grace)
		graceOver = timer.C
	}
	for {
		wake := time.Duration(-1)
		if !draining && ctx.Err() == nil {
			r.sample(ctx)
			wake = r.followOn(opening, r.start(ctx, opening))
			if r.fatal != nil {
				stop()
			}
		}
		if r.running == 0 && (draining || ctx.Err() != nil || wake < 0 && r.pending == 0) {
			break
		}
		var woken <-chan time.Time
		if wake >= 0 {
			timer := time.NewTimer(wake)
			woken = timer.C
		}
		select {
		case out := <-r.results:
			r.running--
			r.settle(context.WithoutCancel(ctx), out)
			if r.fatal != nil && !draining {
				stop()
			}
		case o := <-r.opens:
			r.settleOpen(ctx, o)
			if r.fatal != nil && !draining {
				stop()
			}
		case t := <-r.follow.ticks:
			r.settleTick(ctx, t)
			if r.fatal != nil && !draining {
				stop()
			}
		case n := <-r.nudges:
			n.reply <- r.retryNow()
		case <-r.adrift.back:
		case <-woken:
		case <-drain:
			r.observe(Event{Kind: Draining, Message: fmt.Sprintf("slices that move bytes may finish within %s", grace)})
			r.summary.Stopped = true
			drain = nil
			stop()
		case <-graceOver:
			graceOver = nil
			r.endAll()
		case <-ctx.Done():
			r.summary.Stopped, r.ending = true, true
			r.endAll()
			for ; r.running > 0; r.running-- {
				r.settle(context.WithoutCancel(ctx), <-r.results)
			}
		}
	}
	return r.fatal
}

// endWaiting ends the slices that don't move bytes.
func (r *run) endWaiting() {
	for w, cancel := range r.cancel {
		if !w.state.isMoving() {
			cancel()
		}
	}
}

func (r *run) endAll() {
	for _, cancel := range r.cancel {
		cancel()
	}
}

func (r *run) identities(indexes []int) []string {
	out := make([]string, len(indexes))
	for n, i := range indexes {
		out[n] = r.identity(i)
	}
	return out
}

func (r *run) names(set sinkSet) []string {
	var out []string
	for _, i := range set.each() {
		out = append(out, r.cfg.Sinks[i].Name)
	}
	return out
}

func (r *run) observe(e Event) {
	if r.cfg.Observe == nil {
		return
	}
	e.Time, e.Pipeline = time.Now().UTC(), r.cfg.Name
	r.obsMu.Lock()
	defer r.obsMu.Unlock()
	r.cfg.Observe(e)
}
