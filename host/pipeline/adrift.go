package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// adrift counts the calls of sinks that weren't waited for. Safe for concurrent use.
type adrift struct {
	mu    sync.Mutex
	calls []int // by sink
	open  int
	back  chan struct{} // has one when a call has come back
	none  chan struct{} // closed when open is 0, made anew when it isn't
}

func newAdrift(n int) *adrift {
	a := &adrift{calls: make([]int, n), back: make(chan struct{}, 1), none: make(chan struct{})}
	close(a.none)
	return a
}

// of returns how many calls of a sink haven't come back.
func (a *adrift) of(i int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[i]
}

// sinks returns those of which calls haven't come back.
func (a *adrift) sinks() sinkSet {
	a.mu.Lock()
	defer a.mu.Unlock()
	var set sinkSet
	for i, n := range a.calls {
		if n > 0 {
			set |= setOf(i)
		}
	}
	return set
}

func (a *adrift) add(i, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == 0 {
		a.none = make(chan struct{})
	}
	a.calls[i] += n
	if a.open += n; a.open > 0 {
		return
	}
	close(a.none)
}

// wait returns when every call has come back, or after d. It reports whether they have.
func (a *adrift) wait(d time.Duration) bool {
	a.mu.Lock()
	none := a.none
	a.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-none:
		return true
	case <-timer.C:
		return false
	}
}

// comesBack is how long a call that was cancelled is waited for before it is left adrift.
const comesBack = time.Second

// lend makes one call of a sink. One of a sink with Patience is cancelled when that is over, and left adrift if it doesn't come back:
// then late is called when it does, and what the call was given must be the call's alone until then.
func (r *run) lend(ctx context.Context, i int, op string, call func(ctx context.Context) error, late func()) error {
	s := &r.cfg.Sinks[i]
	if s.Patience == 0 {
		return guard(s.Name, op, func() error { return call(ctx) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	var mu sync.Mutex
	left, ended := false, false
	go func() { // waited for below, or counted as adrift
		err := guard(s.Name, op, func() error { return call(ctx) })
		done <- err
		mu.Lock()
		ended = true
		wasLeft := left
		mu.Unlock()
		if wasLeft {
			if late != nil {
				late()
			}
			r.adrift.add(i, -1)
			select {
			case r.adrift.back <- struct{}{}:
			default:
			}
		}
	}()
	timer := time.NewTimer(s.Patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // told to stop: the call was told, too
	case <-timer.C:
	}
	cancel()
	again := time.NewTimer(min(comesBack, s.Patience))
	defer again.Stop()
	select {
	case err := <-done:
		if err == nil {
			return nil // just in time
		}
		return fault.New(fault.Transient, "sink "+s.Name, "", errTookTooLong(op, s.Patience, err))
	case <-again.C:
	}
	mu.Lock()
	if ended {
		mu.Unlock()
		return <-done
	}
	left = true
	r.adrift.add(i, 1)
	mu.Unlock()
	return fault.New(fault.Transient, "sink "+s.Name, "", errTookTooLong(op, s.Patience, errNotBack))
}

var errNotBack = errors.New("the call hasn't come back")

func errTookTooLong(op string, patience time.Duration, err error) error {
	return fmt.Errorf("%s took longer than %s (detach_after): %w", op, patience, err)
}
