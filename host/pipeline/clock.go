package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// ErrNoClock says that the vendor tells no time and the pipeline doesn't say `clock: host`: the config has to.
var ErrNoClock = errors.New("the vendor's clock isn't known")

// vendorClock is the vendor's now: asked, then carried on by a clock that never steps, so that a step of the host's wall
// clock changes nothing. Safe for concurrent use.
type vendorClock struct {
	mu    sync.Mutex
	known bool
	base  time.Time            // the vendor's clock
	taken time.Duration        // when it was read, by since
	now   func() time.Time     // this machine's wall clock, for pipelines that go by it
	since func() time.Duration // never steps
}

func newVendorClock() *vendorClock { return &vendorClock{now: time.Now, since: sinceBoot} }

// set takes a reading. Readings have whole seconds (HTTP's Date) and age on their way: only one that is further on than
// what is carried moves the clock, unless it is back by more than a minute, which is a correction.
func (c *vendorClock) set(vendor time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.since()
	if c.known {
		carried := c.base.Add(now - c.taken)
		if behind := carried.Sub(vendor); behind >= 0 && behind < time.Minute {
			return
		}
	}
	c.known, c.base, c.taken = true, vendor.UTC().Round(0), now
}

// Now returns the vendor's now, the zero time before the first reading.
func (c *vendorClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return time.Time{}
	}
	return c.base.Add(c.since() - c.taken)
}

// horizon is the first instant that isn't asked for yet: the vendor's now minus lag, in whole milliseconds. Of a clock that tells whole
// seconds (HTTP's Date) it is the last whole second: the clock in an answer, which decides whether the slice is closed, tells no more,
// and would refuse a slice that ends some milliseconds later until its second is over.
func (c *vendorClock) horizon(lag time.Duration) time.Time {
	now := c.Now()
	if c.tellsSeconds() {
		now = now.Truncate(time.Second)
	}
	return now.Add(-lag).Truncate(time.Millisecond)
}

// tellsSeconds reports whether the last reading was of whole seconds.
func (c *vendorClock) tellsSeconds() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Nanosecond() == 0
}

// ask takes a reading from the source, or from the host's own clock if the pipeline says so.
func (c *vendorClock) ask(ctx context.Context, src Source, host bool) error {
	if host {
		c.set(c.now())
		return nil
	}
	t, err := src.Now(ctx)
	if err == nil && t.IsZero() {
		err = fault.New(fault.Config, "", "set `clock: host` on the pipeline if this machine's clock can be trusted", errors.New("it isn't told"))
	}
	switch {
	case fault.KindOf(err) == fault.Config && err != nil:
		return fmt.Errorf("%w: %w", ErrNoClock, err)
	case err != nil:
		return fmt.Errorf("vendor's clock: %w", err)
	}
	c.set(t)
	return nil
}
