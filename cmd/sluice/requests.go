package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluice-io/sluice/host/budget"
)

// requestCounter counts the requests that a pipeline was granted, and what came of them by the key's namespaces.
type requestCounter struct {
	*budget.Manager
	granted atomic.Uint64

	mu     sync.Mutex
	spaces []*spaceUse
	open   map[string]*spaceUse // by reservation
}

// spaceUse is what a pipeline used of one namespace of its key in a run.
type spaceUse struct {
	Key           string  `json:"key"` // its hash
	Namespace     string  `json:"namespace"`
	Requests      uint64  `json:"requests"`
	Bytes         uint64  `json:"bytes"`                    // that came, as the budget counts them
	LimitRequests uint64  `json:"limit_requests,omitempty"` // in a window, before share; 0: not limited
	LimitBytes    uint64  `json:"limit_bytes,omitempty"`
	Window        float64 `json:"window_seconds,omitempty"`
	Share         float64 `json:"share,omitempty"`
}

func (c *requestCounter) Acquire(ctx context.Context, r budget.Request) (budget.Grant, error) {
	g, err := c.Manager.Acquire(ctx, r)
	if err != nil || !g.Granted {
		return g, err
	}
	c.granted.Add(r.Requests)
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.spaces, func(s *spaceUse) bool { return s.Key == r.Key && s.Namespace == r.Namespace })
	if i < 0 {
		i = len(c.spaces)
		c.spaces = append(c.spaces, &spaceUse{Key: r.Key, Namespace: r.Namespace})
	}
	s := c.spaces[i]
	s.Requests += r.Requests
	s.LimitRequests, s.LimitBytes, s.Window, s.Share = r.LimitRequests, r.LimitBytes, r.Window.Seconds(), r.Share
	if s.Share == 0 {
		s.Share = budget.DefaultShare
	}
	if c.open == nil {
		c.open = map[string]*spaceUse{}
	}
	c.open[g.Reservation] = s
	return g, err
}

func (c *requestCounter) Settle(ctx context.Context, s budget.Settlement) error {
	if s.Done {
		c.mu.Lock()
		if use := c.open[s.Reservation]; use != nil {
			use.Bytes += s.Bytes
			delete(c.open, s.Reservation)
		}
		c.mu.Unlock()
	}
	return c.Manager.Settle(ctx, s)
}

// used returns what was used so far, by key and namespace.
func (c *requestCounter) used() []spaceUse {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]spaceUse, len(c.spaces))
	for i, s := range c.spaces {
		out[i] = *s
	}
	slices.SortFunc(out, func(a, b spaceUse) int {
		return strings.Compare(a.Key+a.Namespace, b.Key+b.Namespace)
	})
	return out
}
