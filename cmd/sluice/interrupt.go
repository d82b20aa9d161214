package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

// interruptible runs a command that has nothing to drain: SIGINT and SIGTERM end its context, so that it tidies up, and
// decide its exit code if it failed because of that.
func interruptible(c *cobra.Command, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(c.Context())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	code := exitOK
	var listening sync.WaitGroup
	listening.Go(func() {
		select {
		case s := <-signals:
			code = exitStopped
			if s == os.Interrupt {
				code = exitInterrupted
			}
			cancel()
		case <-ctx.Done():
		}
	})
	err := do(ctx)
	signal.Stop(signals)
	cancel()
	listening.Wait()
	if err != nil && code != exitOK {
		return &exitError{code: code}
	}
	return err
}
