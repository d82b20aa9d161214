package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

// stopSignals are the signals that end a command in order. SIGHUP, which comes when a terminal goes away, is among them unless it was ignored
// when the process started, as nohup does: that must stay so, and to listen for a signal is to ignore it no longer.
func stopSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// interruptible runs a command that has nothing to drain: the first of stopSignals ends its context, so that it tidies up, and decides its
// exit code if it failed because of that. The second one has its default effect: what blocks, such as a write to a pipe that nobody
// reads, doesn't look at a context.
func interruptible(c *cobra.Command, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(c.Context())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, stopSignals()...)
	var stopped *exitError
	var listening sync.WaitGroup
	listening.Go(func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			stopped = &exitError{exitStopped, fmt.Errorf("stopped by a signal (%s) before it was done", s)}
			if s == os.Interrupt {
				stopped.code = exitInterrupted
			}
			cancel()
		case <-ctx.Done():
		}
	})
	err := do(ctx)
	signal.Stop(signals)
	cancel()
	listening.Wait()
	if err != nil && stopped != nil {
		return stopped
	}
	return err
}
