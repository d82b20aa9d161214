package main

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
)

// begin assembles a pipeline for a run. What may pass, such as a vendor that is asked for the names of logs and is busy, is tried again as a
// slice would be: one bad moment at the start mustn't end what is to go on for weeks.
func (r *running) begin(ctx context.Context, c *config.Pipeline, sel selection, drain <-chan struct{}, out *reporter) (*assembled, error) {
	retry := pipeline.Config{Attempts: c.Retry.Attempts, MaxBackoff: c.Retry.MaxBackoff}
	for failures := 1; ; {
		p, err := r.host.assemble(ctx, c, sel, true)
		if err == nil {
			return p, nil
		}
		wait, charged, again := retry.Again(err, failures)
		if !again {
			return p, err
		}
		if charged {
			failures++
		}
		now := time.Now()
		out.event(pipeline.Event{
			Time: now, Kind: pipeline.Retry, Pipeline: c.Name, Err: err, Message: err.Error(), Hint: fault.HintOf(err), Until: now.Add(wait),
		})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			continue
		case <-drain:
		case <-ctx.Done():
		}
		timer.Stop()
		return nil, fault.New(fault.Canceled, "start", "", errors.New("stopped before anything was read"))
	}
}
