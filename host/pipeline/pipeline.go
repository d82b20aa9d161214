package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Source is what a pipeline needs of a running plugin. Safe for concurrent use.
type Source interface {
	// Plan cuts a gap into slices that begin at its From without hole or overlap; it may stop before its To.
	Plan(ctx context.Context, g flow.Gap) ([]flow.Slice, error)
	// Now returns the vendor's clock; a *fault.Error of kind Config if the vendor tells none. It must end by itself, with an error of
	// kind Crash if the process hangs: nothing new is asked for meanwhile.
	Now(ctx context.Context) (time.Time, error)
	// Read opens a slice and returns when the vendor's first good answer has begun. It grants no credit before the first
	// Next. share is the credit in bytes; waiting is called, perhaps from another goroutine, whenever the source says what it
	// waits for, until Read returns and after.
	Read(ctx context.Context, s flow.Slice, share int64, waiting func(until time.Time, why string)) (Reader, error)
	// Measure returns what the vendor itself says, by a cheaper answer than the records, of the parts of r that it has figures for.
	// nil, nil: the source can't, or has none. It waits for the budget as long as ctx lets it.
	Measure(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error)
	// Close ends the process.
	Close() error
	// Done is closed when the process has ended.
	Done() <-chan struct{}
}

// Reader is a flow.Reader with what was said when it opened.
type Reader interface {
	flow.Reader
	// Schema is the full schema of every batch.
	Schema() *arrow.Schema
	// VendorTime is the vendor's clock in the answer that opened the slice; zero if it tells none.
	VendorTime() time.Time
	// Counters are what the source counted; valid after Next has returned io.EOF.
	Counters() map[string]uint64
}

// Sink is one open sink of a pipeline.
type Sink struct {
	Name       string
	Type       string
	sinks.Sink          // nil: Open opens it
	Streams    []string // that it is given; nil: all
	// Open opens the sink, its secrets read anew, and closes the one that it returned before. It is called when Sink is nil and
	// after the sink refused its credentials, while none of its transactions is open. Its error names the sink.
	// nil: it can't be opened again.
	Open func(ctx context.Context) (sinks.Sink, error)
	// Known is the identity that the ledger is likely to know the sink by while it isn't open, for what people are shown.
	Known string
	// Patience makes the pipeline go on without the sink when it fails, or when one call of it takes longer. 0: the pipeline waits.
	Patience time.Duration
	// Probe asks whether a sink that was down can be reached, before the vendor is asked for what it lacks. nil: that shows then.
	Probe func(ctx context.Context) error
	// OneRun: the ledger's account of it lasts for one run.
	OneRun bool
	// Hourly: where records go depends on the hour that their slice begins in, so slices aren't joined.
	Hourly bool
}

// takes reports whether the sink is given a stream.
func (s *Sink) takes(stream string) bool {
	return s.Streams == nil || slices.Contains(s.Streams, stream)
}

// Config is what a pipeline runs with.
type Config struct {
	Name       string
	SourceName string // for events and commit entries
	SourceVer  string
	Version    string // Sluice's own
	Partitions []Partition
	Streams    map[string]Stream // of the partitions; one that isn't here is the zero Stream
	Sinks      []Sink
	From       time.Time
	To         time.Time     // zero: up to the vendor's now minus lag
	Last       time.Duration // instead of From: back from the vendor's now minus lag
	Lag        time.Duration
	Follow     time.Duration // how often new time is asked for until the run is told to stop; 0: it ends when all is covered
	Tail       bool          // with Follow: what is newest goes before older gaps
	HostClock  bool          // trust this machine's clock
	FirstRun   bool          // sinks of which nothing is known may be sent all of what is asked
	FromSaid   bool          // From was said for this run: they may be sent what begins there
	Window     int64
	Parallel   int
	Attempts   int           // tries of a slice before it is failed or quarantined
	MaxBackoff time.Duration // between tries
	DeadPath   string        // folder of dead letters
	DeadMax    uint64        // more dead letters fail the run
	DeadRecord int64         // a larger dead record fails its slice, bytes
	Spool      *Spool        // keeps what was read until every sink has it; nil: nothing is kept
	Recheck    Recheck       // of committed ranges, for late records
	// Start starts a fresh plugin process, configured. It is called again after a crash and after an error of
	// authentication, so that secrets are read again.
	Start  func(ctx context.Context) (Source, error)
	Ledger *ledger.Ledger
	Log    *slog.Logger
	// Observe is called for each event, from one goroutine at a time; it must not block for long. May be nil.
	Observe func(Event)
	// Foresee is told once, beside the run, what it will carry by what is known when it begins; the vendor isn't asked for it. ctx ends
	// with the run. May be nil.
	Foresee func(ctx context.Context, f Forecast)
	// Step is called before each named step of a slice, from the goroutine that takes it: a seam for tests that end the
	// process there. May be nil.
	Step func(Step)
}

// Step names a place in a slice's course. Each is where a crash leaves another state behind.
type Step string

// The steps, in a slice's order.
const (
	StepLookup    Step = "lookup"     // before the sinks are asked
	StepBegin     Step = "begin"      // before the ledger holds that the read begins
	StepOpen      Step = "open"       // before the read is opened
	StepSinks     Step = "sinks"      // opened, before the sinks' transactions
	StepAppend    Step = "append"     // before a batch is appended
	StepCommit    Step = "commit"     // read proved, before the first sink's commit
	StepRecord    Step = "record"     // committed, before the ledger holds it
	StepPublish   Step = "publish"    // recorded, before dead letters are published
	StepSplit     Step = "split"      // truncated, before the ledger holds the parts
	StepSplitDone Step = "split_done" // the ledger holds the parts
)

// Steps lists every step.
func Steps() []Step {
	return []Step{
		StepLookup, StepBegin, StepOpen, StepSinks, StepAppend, StepCommit, StepRecord, StepPublish, StepSplit, StepSplitDone,
	}
}

func (r *run) step(s Step) {
	if r.cfg.Step != nil {
		r.cfg.Step(s)
	}
}

// Partition is one partition to carry, with what people call it.
type Partition struct {
	flow.Partition
	Name string
}

// Validate reports all that can't work.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Sinks) == 0 || len(c.Sinks) > maxSinks {
		errs = append(errs, fmt.Errorf("%d sinks, want 1 to %d", len(c.Sinks), maxSinks))
	}
	for _, p := range c.Partitions {
		if !slices.ContainsFunc(c.Sinks, func(s Sink) bool { return s.takes(p.Stream) }) {
			errs = append(errs, fmt.Errorf("no sink takes the stream %s", p.Stream))
			break
		}
	}
	if len(c.Partitions) == 0 {
		errs = append(errs, errors.New("nothing to read: the source names no partition"))
	}
	if c.Parallel < 1 || c.Window/int64(max(c.Parallel, 1)) < minShare {
		errs = append(errs, fmt.Errorf("window %d shared by %d slices is less than %d bytes each", c.Window, c.Parallel, minShare))
	}
	if c.From.IsZero() == (c.Last == 0) {
		errs = append(errs, errors.New("exactly one of from and last must be set"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("pipeline %s: %w", c.Name, err)
	}
	return nil
}

// minShare is the least credit of a slice: one frame of the largest ordinary size.
const minShare = 4 << 20

// share is the credit of each running slice. Nothing is borrowed, so nothing starves.
func (c *Config) share() int64 { return c.Window / int64(c.Parallel) }

// Memory is the most that the pipeline holds at once, in bytes: the window, and for each running slice one largest record, the
// source's declared buffer and those that the sinks of its stream declare. All of them may be of the stream whose sinks hold the most.
func Memory(window int64, parallel int, largestRecord, source int64, streams []string, all []Sink) int64 {
	return window + int64(parallel)*(largestRecord+source+Buffers(streams, all))
}

// Buffers is the most that the sinks of one slice hold, in bytes.
func Buffers(streams []string, all []Sink) int64 {
	most := int64(0)
	for _, stream := range streams {
		sum := int64(0)
		for i := range all {
			if z, ok := all[i].Sink.(sinks.Sizer); ok && all[i].takes(stream) {
				sum += z.Buffer()
			}
		}
		most = max(most, sum)
	}
	return most
}
