package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// action is what an error asks the loop to do with a slice.
type action uint8

const (
	actRetry         action = iota // again, after verdict.wait; counts against the attempts
	actWait                        // again, after verdict.wait; doesn't count
	actSplit                       // cut into verdict.parts
	actQuarantine                  // not in this run again
	actStopPartition               // nothing of the partition starts any more
	actStopPipeline                // nothing of the pipeline starts any more
	actReplan                      // someone else covered part of it
	actUnavailable                 // the vendor no longer has it
	actDrop                        // the run is ending; nobody is charged
)

// verdict is an action with what it needs.
type verdict struct {
	action  action
	wait    time.Duration
	fresh   bool // start a fresh plugin process first
	charged bool // counts against the attempts
	alone   bool // the next try runs alone: who crashed the process isn't known, or is
}

// Waits that don't come from the vendor.
const (
	firstBackoff = time.Second
	notYetWait   = time.Second
)

// throttledWait is for a Throttled without RetryAfter.
const throttledWait = 5 * time.Second

// decide is the one place that reads a fault's kind. failures counts the slice's charged failures, this one included.
func (c *Config) decide(err error, failures int) verdict {
	var truncated *flow.Truncated
	after := fault.RetryAfterOf(err)
	switch kind := fault.KindOf(err); {
	case errors.As(err, &truncated) || kind == fault.Truncated:
		// Never committed: cut into parts that cover it exactly.
		return verdict{action: actSplit}
	case errors.Is(err, sinks.ErrOverlap) || kind == fault.Overlap:
		// The sink's log is the truth: look at it again and plan what is left.
		return verdict{action: actReplan}
	case errors.Is(err, sinks.ErrOwned):
		// Retrying can't change an owner.
		return verdict{action: actStopPipeline}
	case kind == fault.Config:
		// A person has to change something.
		return verdict{action: actStopPipeline}
	case kind == fault.Auth:
		// A secret may have been rotated: a fresh process reads it again. Then it is the key.
		if failures > 1 {
			return verdict{action: actStopPipeline}
		}
		return verdict{action: actRetry, fresh: true, charged: true}
	case kind == fault.NotFound:
		// One deleted log doesn't stop the others.
		return verdict{action: actStopPartition}
	case kind == fault.Throttled:
		// The vendor's answer overrides our count; waiting is not a failure.
		return verdict{action: actWait, wait: orElse(after, throttledWait)}
	case kind == fault.NotYet:
		// Its clock may tell whole seconds: asked sooner it would say the same, and each time costs a request.
		return verdict{action: actWait, wait: max(after, notYetWait)}
	case kind == fault.Unavailable:
		return verdict{action: actUnavailable}
	case kind == fault.Canceled:
		return verdict{action: actDrop}
	case kind == fault.Oversize:
		// The same bytes will be as large next time.
		return verdict{action: actQuarantine}
	case failures >= c.Attempts:
		return verdict{action: actQuarantine, fresh: freshAfter(kind)}
	default:
		// Transient, Corrupt, InDoubt that stayed in doubt, Crash, Bug, and what nobody classified.
		return verdict{action: actRetry, wait: max(after, c.backoff(failures)), fresh: freshAfter(kind), charged: true}
	}
}

// RetryStart says whether a source that couldn't be started before the run is started again, and after which wait: when it had to ask
// the vendor, for names of logs, and that failed as it may. failures counts the starts that failed, this one included.
func RetryStart(err error, failures, attempts int, maxBackoff time.Duration) (wait time.Duration, again bool) {
	switch fault.KindOf(err) {
	case fault.Transient, fault.Throttled, fault.NotYet:
	default:
		return 0, false // another try tells the same, and nothing is lost by saying so at once
	}
	c := Config{Attempts: attempts, MaxBackoff: maxBackoff}
	v := c.decide(err, failures)
	return v.wait, v.action == actRetry || v.action == actWait
}

// unasked makes a Canceled that nobody asked for, ctx least of all, an error that is tried again and charged: a source whose
// own stop leaks out could come back for ever.
func unasked(ctx context.Context, err error) error {
	if fault.KindOf(err) != fault.Canceled || ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Transient, "", fault.HintOf(err), err)
}

// orElse is what the vendor said, else our own wait.
func orElse(said, own time.Duration) time.Duration {
	if said > 0 {
		return said
	}
	return own
}

// afterCrash is the verdict of a slice whose process crashed, or was replaced for another slice's sake. All that were in it are tried one at
// a time, and only one that crashes alone is charged: the others did nothing.
func (c *Config) afterCrash(err error, company bool, failures int) verdict {
	if company {
		v := c.decide(unasked(context.Background(), err), failures-1)
		v.charged, v.alone = false, true
		return v
	}
	v := c.decide(unasked(context.Background(), err), failures)
	v.alone = fault.KindOf(err) == fault.Crash
	return v
}

// freshAfter reports whether the process can't be trusted after an error of this kind.
func freshAfter(kind fault.Kind) bool { return kind == fault.Crash || kind == fault.Bug }

// backoff doubles from a second up to MaxBackoff and is then spread over its upper half, so that slices that failed
// together don't come back together.
func (c *Config) backoff(failures int) time.Duration {
	d := min(firstBackoff<<min(max(failures-1, 0), 16), max(c.MaxBackoff, time.Millisecond))
	return d/2 + rand.N(d/2+1)
}

// partsOf returns the slices that a truncated slice is cut into: by the source's evidence if it covers the slice exactly,
// else a whole day in eight and anything smaller in two. Nil means that it is one millisecond and can't be cut.
func partsOf(s flow.Slice, into []flow.Slice) []flow.Slice {
	if coversExactly(s, into) {
		return into
	}
	n := 2
	if s.Range().Duration() == 24*time.Hour {
		n = 8
	}
	pieces := s.Range().Cut(n)
	if len(pieces) < 2 {
		return nil
	}
	parts := make([]flow.Slice, len(pieces))
	for i, r := range pieces {
		parts[i] = flow.NewSlice(s.Partition, r.From, r.To, s.Rev)
	}
	return parts
}

func coversExactly(s flow.Slice, parts []flow.Slice) bool {
	if len(parts) < 2 {
		return false
	}
	at := s.From
	for _, p := range parts {
		if p.Validate() != nil || p.Partition != s.Partition || p.Rev != s.Rev || !p.From.Equal(at) {
			return false
		}
		at = p.To
	}
	return at.Equal(s.To)
}
