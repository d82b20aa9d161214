package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/proto/fault"
)

// retryNowLine is a line of `retry --json`: a pipeline of the running host.
type retryNowLine struct {
	V     int    `json:"v"`
	TS    string `json:"ts"`
	Event string `json:"event"` // "retried"
	control.Retried
}

// retryNow tells the host that runs to try again what it has set aside.
func (a *app) retryNow(ctx context.Context, names []string) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	if _, err := choosePipelines(c, names); err != nil {
		return usageError(err)
	}
	all, err := control.Retry(ctx, c.State, names)
	if errors.Is(err, control.ErrNotRunning) {
		return failedError(fault.New(fault.Config, "", "`sluice run` tries all of it: quarantine and backoff last for one run", err))
	}
	if err != nil {
		return failedError(err)
	}
	var failed error
	for _, r := range all {
		if r.Error != "" {
			failed = errors.Join(failed, fmt.Errorf("%s: %s", r.Pipeline, r.Error))
		}
		if a.json {
			a.printJSON(retryNowLine{1, stamp(time.Now()), "retried", r})
		} else if r.Error == "" {
			_ = a.printText(r.Pipeline + ": " + retriedText(r) + "\n")
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(r control.Retried) bool { return r.Pipeline == n }) {
			failed = errors.Join(failed, fmt.Errorf("%s: the host that runs was started without it", n))
		}
	}
	if failed != nil {
		return failedError(failed)
	}
	return nil
}

func retriedText(r control.Retried) string {
	var out []string
	for _, one := range []struct {
		n    int
		noun string
	}{{r.Quarantined, "quarantined slice"}, {r.Waits, "waiting slice"}, {r.Partitions, "stopped partition"}, {r.Sinks, "sink"}} {
		if one.n > 0 {
			out = append(out, counted(uint64(one.n), one.noun))
		}
	}
	if len(out) == 0 {
		return "nothing was set aside"
	}
	return "tried again now: " + strings.Join(out, ", ")
}

// retry is what the control socket asks.
func (r *running) retry(ctx context.Context, names []string) []control.Retried {
	out := []control.Retried{}
	for _, l := range r.live() {
		if len(names) > 0 && !slices.Contains(names, l.name) {
			continue
		}
		one := control.Retried{Pipeline: l.name}
		switch {
		case l.ended:
			one.Error = "its run has ended; `sluice run` tries all of it again"
		case l.pipeline == nil:
			one.Error = "it is being started"
		default:
			got, err := l.pipeline.Retry(ctx)
			one.Quarantined, one.Waits, one.Partitions, one.Sinks = got.Quarantined, got.Waits, got.Partitions, got.Sinks
			if err != nil {
				one.Error = err.Error()
			}
		}
		out = append(out, one)
	}
	return out
}
