package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Vendor reads slices from the vendor once more and commits nothing. Its methods may be called concurrently.
type Vendor struct {
	Source func(ctx context.Context) (pipeline.Source, error) // a running one
	Share  int64                                              // credit of each slice, in bytes
	Tries  int
	// Backoff is how long is waited after the nth failure.
	Backoff func(n int) time.Duration
	Waiting func(until time.Time, why string)
}

// Sum reads a slice and returns the sum of its records. One that the vendor cuts off is read in parts.
func (v Vendor) Sum(ctx context.Context, s flow.Slice) (flow.Sum, error) {
	sum, err := v.again(ctx, s)
	var truncated *flow.Truncated
	if !errors.As(err, &truncated) {
		return sum, err
	}
	into := truncated.Into
	if len(into) == 0 {
		if into, err = halves(s); err != nil {
			return flow.Sum{}, err
		}
	}
	sum = flow.Sum{}
	for _, part := range into {
		one, err := v.Sum(ctx, part)
		if err != nil {
			return flow.Sum{}, err
		}
		sum = sum.Plus(one)
	}
	return sum, nil
}

// halves cuts a slice that was cut off without evidence.
func halves(s flow.Slice) ([]flow.Slice, error) {
	middle := s.From.Add(s.To.Sub(s.From) / 2).Truncate(time.Millisecond)
	if !middle.After(s.From) {
		return nil, fault.Errorf(fault.Truncated, "read again", "slice %s: the vendor cuts off a single millisecond", s)
	}
	return []flow.Slice{flow.NewSlice(s.Partition, s.From, middle, s.Rev), flow.NewSlice(s.Partition, middle, s.To, s.Rev)}, nil
}

// again tries a few times what may pass.
func (v Vendor) again(ctx context.Context, s flow.Slice) (sum flow.Sum, err error) {
	for n := 1; ; n++ {
		sum, err = v.once(ctx, s)
		switch kind := fault.KindOf(err); {
		case err == nil, ctx.Err() != nil, n >= v.Tries:
			return sum, err
		case kind == fault.Throttled, kind == fault.Transient, kind == fault.Corrupt, kind == fault.Bug:
		default:
			return sum, err
		}
		wait := v.Backoff(n)
		var known *fault.Error
		if errors.As(err, &known) {
			wait = max(wait, known.RetryAfter)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return sum, ctx.Err()
		case <-timer.C:
		}
	}
}

func (v Vendor) once(ctx context.Context, s flow.Slice) (_ flow.Sum, err error) {
	source, err := v.Source(ctx)
	if err != nil {
		return flow.Sum{}, err
	}
	reader, err := source.Read(ctx, s, v.Share, v.Waiting)
	if err != nil {
		return flow.Sum{}, fmt.Errorf("slice %s: %w", s, err)
	}
	defer func() {
		if cerr := reader.Close(); err == nil {
			err = cerr
		}
	}()
	for {
		item, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return reader.Manifest().Sum, nil // the reader has compared it with what came
		}
		if err != nil {
			return flow.Sum{}, fmt.Errorf("slice %s: %w", s, err)
		}
		reader.Release(item)
	}
}
