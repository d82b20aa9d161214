// Package credit is both ends of flow control by bytes. A receiver grants bytes; a sender may send one message whenever
// its credit is above zero, and that message may take the credit below. So no message is too large, no smallest grant is
// needed, and a receiver that granted size bytes holds at most size plus one message.
//
// Gate is the sender's end, Window the receiver's. They know no transport: grants leave a Window through a function.
package credit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
)

// ErrClosed is returned by a Gate or Window that was closed without a reason.
var ErrClosed = errors.New("credit: closed")

// Gate is the sender's end: it opens while credit is above zero. Safe for concurrent use, but only one goroutine at a time
// should Wait and Spend, or several may pass on the same credit.
type Gate struct {
	mu     sync.Mutex
	credit int64
	err    error
	change chan struct{} // closed and replaced when credit rises above zero or the gate is closed
}

// NewGate returns a gate without credit.
func NewGate() *Gate { return &Gate{change: make(chan struct{})} }

// Grant adds n bytes of credit. It refuses n below 1 and a sum beyond 2^63-1: both mean that the receiver is broken.
func (g *Gate) Grant(n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n < 1 {
		return fmt.Errorf("credit: grant of %d bytes", n)
	}
	if g.credit > math.MaxInt64-n {
		return fmt.Errorf("credit: grant of %d bytes overflows the credit of %d", n, g.credit)
	}
	before := g.credit
	g.credit += n
	if before <= 0 && g.credit > 0 {
		g.wake()
	}
	return nil
}

// Wait returns when credit is above zero. It returns ctx's cause when ctx ends first and the reason of Close.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		open, err, change := g.credit > 0, g.err, g.change
		g.mu.Unlock()
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case open:
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
}

// Spend takes the length of a message that was let through; the credit may fall below zero.
func (g *Gate) Spend(n int64) {
	g.mu.Lock()
	g.credit -= n
	g.mu.Unlock()
}

// Credit returns the bytes that may be sent; it may be negative.
func (g *Gate) Credit() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.credit
}

// Close ends every Wait, now and later, with err (ErrClosed if nil). The first reason stays.
func (g *Gate) Close(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return
	}
	if err == nil {
		err = ErrClosed
	}
	g.err = err
	g.wake()
}

func (g *Gate) wake() {
	close(g.change)
	g.change = make(chan struct{})
}
