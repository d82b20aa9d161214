package main

import (
	"context"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/proto/flow"
)

// source makes a running plugin what a pipeline needs.
type source struct{ *supervisor.Plugin }

var _ pipeline.Source = source{}

func (s source) Read(ctx context.Context, slice flow.Slice, share int64, waiting func(time.Time, string)) (pipeline.Reader, error) {
	r, err := s.Plugin.Read(ctx, slice, supervisor.ReadOptions{Share: share, Waiting: waiting})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	return s.Stop(ctx)
}
