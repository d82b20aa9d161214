package vendorsim

import (
	"sync"
	"time"
)

// Clock is the vendor's own idea of the time: a wall clock that may differ from the host's, and a monotonic one
// for budget windows. All methods are safe for concurrent use.
type Clock struct {
	mu      sync.Mutex
	began   time.Time     // with the host's monotonic reading
	elapsed time.Duration // added by Elapse
	offset  time.Duration // wall clock against began + time passed
	frozen  bool
	at      time.Time // the wall clock while frozen
}

// NewClock returns a clock that differs from the host's by offset (positive: it runs ahead).
func NewClock(offset time.Duration) *Clock {
	return &Clock{began: time.Now(), offset: offset}
}

// Now is the vendor's wall clock, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time {
	if c.frozen {
		return c.at
	}
	return c.began.Add(c.mono() + c.offset).Round(0).UTC()
}

// Monotonic is the time since the clock was made; only [Clock.Elapse] hurries it.
func (c *Clock) Monotonic() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mono()
}

func (c *Clock) mono() time.Duration { return time.Since(c.began) + c.elapsed }

// Set makes the wall clock show t and go on from there (or stay there, if it is frozen).
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(t.Round(0).UTC())
}

func (c *Clock) set(t time.Time) {
	c.at = t
	c.offset = t.Sub(c.began) - c.mono()
}

// Jump moves the wall clock by d and leaves the monotonic clock alone, as an administrator's correction does.
func (c *Clock) Jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(c.now().Add(d))
}

// Elapse lets d pass at once on both clocks: budget windows move on too.
func (c *Clock) Elapse(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		c.at = c.at.Add(d)
	}
	c.elapsed += d
}

// Freeze stops the wall clock at t until the next [Clock.Thaw]. The monotonic clock goes on.
func (c *Clock) Freeze(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen, c.at = true, t.Round(0).UTC()
}

// Thaw lets the wall clock go on from where it stands.
func (c *Clock) Thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.now()
	c.frozen = false
	c.set(at)
}
