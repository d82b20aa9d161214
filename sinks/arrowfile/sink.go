// Package arrowfile is the sink that writes files and streams of Arrow IPC, exactly once for each slice. Package parts has the transaction and the
// layout, package ipcfile the format.
package arrowfile

import (
	"context"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/parts"
)

// Definition is the arrow sink's.
var Definition = sinks.Definition{
	Type:    sinkType,
	Promise: "exactly once per slice",
	Config:  []byte(schema),
	Open: func(ctx context.Context, c sinks.Config) (sinks.Sink, error) {
		return Open(ctx, c, commitlog.OS{})
	},
	Check: func(_ context.Context, c sinks.Config) error {
		s, err := parse(c)
		if err != nil {
			return err
		}
		return parts.Check(c, s.options())
	},
	Buffer: func(c sinks.Config) (int64, error) {
		s, err := parse(c)
		if err != nil {
			return 0, err
		}
		return s.options().Format.Buffer(), nil
	},
}

// Open opens an arrow sink on a file system; Definition.Open does so on the machine's own.
func Open(ctx context.Context, c sinks.Config, fsys commitlog.FS) (*parts.Sink, error) {
	s, err := parse(c)
	if err != nil {
		return nil, err
	}
	return parts.Open(ctx, c, s.options(), fsys)
}
