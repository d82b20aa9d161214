package supervisor

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// crashLoops counts, for each plugin, the starts that failed and the processes that ended soon after their start. Safe for
// concurrent use.
type crashLoops struct {
	limit CrashLoop
	now   func() time.Time

	mu       sync.Mutex
	failures map[string][]failedStart
}

type failedStart struct {
	at    time.Time
	err   error
	slice flow.SliceID // the only one that was being read when the process ended; zero: none, or several
}

func newCrashLoops(limit CrashLoop) *crashLoops {
	return &crashLoops{limit: limit, now: time.Now, failures: make(map[string][]failedStart)}
}

func (c *crashLoops) key(s Spec) string { return s.Name + "\x00" + s.Path }

// recent returns the failures that still count. The caller holds mu.
func (c *crashLoops) recent(s Spec) []failedStart {
	all := c.failures[c.key(s)]
	for len(all) > 0 && c.now().Sub(all[0].at) >= c.limit.Within {
		all = all[1:]
	}
	return all
}

// allow returns the error of a plugin that has been given up, for as long as its failures are recent.
func (c *crashLoops) allow(s Spec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdict(s, c.recent(s))
}

// failed counts a failed start and returns the error to tell: err, or that the plugin is given up. slice is the only one that was being
// read, zero if there is none.
func (c *crashLoops) failed(s Spec, err error, slice flow.SliceID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(c.recent(s), failedStart{c.now(), err, slice})
	c.failures[c.key(s)] = all
	if verdict := c.verdict(s, all); verdict != nil {
		return verdict
	}
	return err
}

// verdict gives a plugin up that fails whatever it is asked for. One slice that ends it each time is counted once: it is given up by
// itself, and the others go on.
func (c *crashLoops) verdict(s Spec, recent []failedStart) error {
	most, by := 1, map[flow.SliceID]int{}
	for _, f := range recent {
		if f.slice != (flow.SliceID{}) {
			by[f.slice]++
			most = max(most, by[f.slice])
		}
	}
	if len(recent)-(most-1) < c.limit.Starts {
		return nil
	}
	last := recent[len(recent)-1]
	hint := fault.HintOf(last.err)
	if hint == "" {
		hint = "look at the plugin's log"
	}
	cause := last.err
	var e *fault.Error
	if errors.As(cause, &e) && e.Err != nil {
		cause = e.Err // its operation is the same plugin
	}
	return fault.New(fault.Config, "plugin "+s.String(), hint,
		fmt.Errorf("given up: %d starts failed within %s; the last: %w", len(recent), last.at.Sub(recent[0].at).Round(time.Millisecond), cause))
}

// worked forgets the failures of a plugin that has done its work.
func (c *crashLoops) worked(s Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failures, c.key(s))
}
