package pipeline

import (
	"context"
	"time"

	"github.com/sluice-io/sluice/sinks"
)

// source returns the running plugin; a process that has ended is replaced by a fresh one.
func (r *run) source(ctx context.Context) (Source, error) {
	r.srcMu.Lock()
	defer r.srcMu.Unlock()
	if r.src != nil {
		select {
		case <-r.src.Done():
			r.leave()
		default:
			return r.src, nil
		}
	}
	src, err := r.cfg.Start(ctx)
	if err != nil {
		return nil, err
	}
	r.src = src
	return src, nil
}

// retire ends the plugin that an error came from, if it still runs: the next slice starts a fresh one. Slices that run in
// it fail and are tried again. An error that comes late, from a process that was replaced, leaves its successor alone.
func (r *run) retire(from Source) {
	r.srcMu.Lock()
	defer r.srcMu.Unlock()
	if r.src != nil && r.src == from {
		r.leave()
	}
}

// leave lets go of the running plugin. Its end may take seconds, which the loop doesn't wait for: close does. srcMu is held.
func (r *run) leave() {
	src := r.src
	r.src = nil
	r.leaving.Go(func() { _ = src.Close() })
}

// leavesWithin is how long the end waits for calls of sinks that were left adrift.
const leavesWithin = 5 * time.Second

// close ends the plugin and waits for those that were left.
func (r *run) close() {
	r.srcMu.Lock()
	if r.src != nil {
		r.leave()
	}
	r.srcMu.Unlock()
	r.leaving.Wait()
	if !r.adrift.wait(leavesWithin) {
		r.cfg.Log.Warn("a sink's call doesn't come back: leaving it", "sinks", r.names(r.adrift.sinks()))
	}
}

func isSerial(s sinks.Sink) bool {
	serial, ok := s.(sinks.Serial)
	return ok && serial.Serial()
}
