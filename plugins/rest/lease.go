package rest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/fault"
)

// lease is the budget that one request holds. Not safe for concurrent use: Do, then the answer's reader, then Close.
type lease struct {
	client  *Client
	op      string
	limit   plugins.Limit
	waiting func(time.Time, string) error

	reservation string
	again       []string // reservations of requests that net/http sent again
	reserved    uint64   // bytes
	requests    uint64   // sent
	bytes       uint64   // read from the wire
	date        time.Time
	settled     bool
}

func (l *lease) unlimited() bool { return l.client.opts.Budget == nil || l.limit.Namespace == "" }

func (l *lease) wait(until time.Time, why string) error {
	if l.waiting == nil {
		return nil
	}
	return l.waiting(until, why)
}

// block is how many bytes are reserved at a time: a small part of a small limit, or nobody else could begin.
func (l *lease) block() uint64 {
	if l.limit.Bytes == 0 {
		return 0
	}
	if l.client.opts.Block > 0 {
		return l.client.opts.Block
	}
	allowed := uint64(float64(l.limit.Bytes) * l.client.opts.Share)
	return max(1, min(DefaultBlock, max(64<<10, allowed/64), allowed))
}

// acquire reserves requests, or none, and a block of bytes on top of what the lease holds, and waits while the budget is spent.
func (l *lease) acquire(ctx context.Context, requests uint64) error {
	block := l.block()
	reservation, err := l.reserve(ctx, requests, block, l.reservation)
	if err == nil {
		l.reservation = reservation
		l.reserved += block
	}
	return err
}

// acquireAgain reserves one request more. It has a reservation of its own: one that is there takes bytes only.
func (l *lease) acquireAgain(ctx context.Context) error {
	reservation, err := l.reserve(ctx, 1, 0, "")
	if err == nil && reservation != "" {
		l.again = append(l.again, reservation)
	}
	return err
}

// reserve waits while the budget is spent. Without a budget the reservation is empty.
func (l *lease) reserve(ctx context.Context, requests, bytes uint64, reservation string) (string, error) {
	if l.unlimited() {
		return "", nil
	}
	request := plugins.BudgetRequest{
		Key: l.client.budgetKey, Limit: l.limit, Share: l.client.opts.Share,
		Requests: requests, Bytes: bytes, Reservation: reservation, VendorTime: l.date,
	}
	for {
		granted, err := l.client.opts.Budget.Acquire(ctx, request)
		if err == nil {
			return granted, nil
		}
		if fault.KindOf(err) != fault.Throttled {
			return "", fmt.Errorf("%s: budget: %w", l.op, err)
		}
		if err := l.sleep(ctx, fault.RetryAfterOf(err)); err != nil {
			return "", err
		}
	}
}

// sleep waits until the budget may be asked again and says so.
func (l *lease) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		d = time.Second
	}
	until := l.client.opts.Now().Add(d).UTC()
	layout := "15:04"
	if d < time.Minute {
		layout = "15:04:05"
	} else if d > 20*time.Hour {
		layout = "2006-01-02 15:04"
	}
	if err := l.wait(until, "budget until "+until.Format(layout)); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx, l.op+": wait for the budget")
	}
}

// errSlow says that more bytes than the budget allows in a window belong to one answer.
var errSlow = errors.New("no bytes were left of the budget for longer than its window")

// topUp makes sure that at least one more byte may be read. An answer that has begun pauses while the budget is spent, for
// a window at most: it may be what the budget is spent on.
func (l *lease) topUp(ctx context.Context) error {
	if l.unlimited() || l.limit.Bytes == 0 || l.bytes < l.reserved {
		return nil
	}
	l.settle(ctx, plugins.VendorBudget{}, false)
	longest := l.limit.Window + l.limit.Window/8 + time.Second
	bounded, cancel := context.WithTimeoutCause(ctx, longest, errSlow)
	defer cancel()
	err := l.acquire(bounded, 0)
	if err != nil && errors.Is(context.Cause(bounded), errSlow) {
		return fault.New(fault.Throttled, l.op, "cut smaller slices (flow.slice) or raise the source's budget.bytes", errSlow)
	}
	return err
}

// settle says what the lease cost so far, done with the last byte or the failure. It outlives the end of ctx, briefly. A
// failure costs budget, since what isn't settled counts in full for a window, but no data: it is logged.
func (l *lease) settle(ctx context.Context, vendor plugins.VendorBudget, done bool) {
	if l.unlimited() || l.reservation == "" || l.settled {
		return
	}
	l.settled = done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err := l.client.opts.Budget.Settle(ctx, plugins.BudgetSettlement{
		Reservation: l.reservation, Requests: min(l.requests, 1), Bytes: l.bytes, Done: done, VendorTime: l.date, Vendor: vendor,
	})
	for i, reservation := range l.again {
		sent := plugins.BudgetSettlement{Reservation: reservation, Done: true, VendorTime: l.date}
		if l.requests > uint64(i)+1 {
			sent.Requests = 1
		}
		err = errors.Join(err, l.client.opts.Budget.Settle(ctx, sent))
	}
	l.again = nil
	if err != nil {
		l.client.opts.Log.Warn("budget not settled: it counts in full for one window",
			"op", l.op, "error", l.client.redact.text(err.Error()))
	}
}
