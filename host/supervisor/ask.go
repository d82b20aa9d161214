package supervisor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// answerTime is how long a vendor may be silent if Config doesn't say.
const answerTime = time.Minute

// signs are what shows that a call which asks the vendor goes on. Safe for concurrent use.
type signs struct {
	n     atomic.Uint64
	until atomic.Int64 // the budget told the plugin to wait so long, Unix time in nanoseconds
}

// give is one sign.
func (s *signs) give() { s.n.Add(1) }

// wait is a sign that lasts.
func (s *signs) wait(d time.Duration) {
	s.until.Store(time.Now().Add(d).UnixNano())
	s.give()
}

// end returns when there was no sign for limit, true, or when ctx ends. It counts ticks, not time: a host that was itself stopped or starved
// doesn't blame the plugin.
func (s *signs) end(ctx context.Context, limit time.Duration) bool {
	const ticks = 10
	ticker := time.NewTicker(max(limit/ticks, time.Millisecond))
	defer ticker.Stop()
	seen, silent := s.n.Load(), 0
	for silent <= ticks {
		select {
		case <-ctx.Done():
			return false
		case now := <-ticker.C:
			if n := s.n.Load(); n != seen || now.UnixNano() < s.until.Load() {
				seen, silent = n, 0
				continue
			}
			silent++
		}
	}
	return true
}

// ask makes a call in which the plugin asks the vendor: one without a sign for limit hangs.
func (p *Plugin) ask(ctx context.Context, op string, limit time.Duration, s *signs, f func(context.Context) error) error {
	callCtx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	hangs := false
	watching.Go(func() {
		if s.end(callCtx, limit) {
			hangs = true
			cancel()
		}
	})
	err := f(callCtx)
	cancel()
	watching.Wait()
	switch {
	case err == nil:
		return nil
	case hangs && ctx.Err() == nil:
		return p.fail(fmt.Sprintf("hangs: no answer to %s for %s", op, limit),
			"look at the plugin's log and at the network to the vendor; if it happens again, tell the plugin's author")
	}
	return p.callError(ctx, op, err)
}
