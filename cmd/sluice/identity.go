package main

import (
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/sinks"
)

// knownSink finds what a sink of the config is called in the ledger without opening it: by the owner of its folder, else
// by its place, else, for sinks without a folder, by its name in the pipeline. ok is false for a sink that doesn't exist yet.
func knownSink(ctx context.Context, l *ledger.Ledger, c *config.Config, p *config.Pipeline, s config.Sink) (info ledger.SinkInfo, ok bool, err error) {
	all, err := l.Sinks(ctx)
	if err != nil {
		return info, false, err
	}
	var settings struct {
		Path string `json:"path"`
	}
	// Settings may be of any shape; only those with a path have a folder.
	if json.Unmarshal(s.Config.JSON, &settings) == nil && settings.Path != "" {
		root := settings.Path
		if !filepath.IsAbs(root) {
			root = filepath.Join(c.Dir, root)
		}
		if real, err := filepath.EvalSymlinks(root); err == nil {
			root = real
		}
		identity, owned := sinkOwner(root)
		for _, k := range all {
			if owned && k.Identity == identity || !owned && k.Location == root {
				return k, true, nil
			}
		}
		return ledger.SinkInfo{Identity: identity, Pipeline: p.Name, Name: s.Name, Type: s.Type, Location: root}, owned, nil
	}
	for _, k := range all {
		if k.Pipeline == p.Name && k.Name == s.Name && k.Type == s.Type && k.Memory {
			return k, true, nil
		}
	}
	return info, false, nil
}

// closedSink stands for a sink that isn't opened: only its identity is known.
type closedSink struct {
	sinks.Sink
	identity string
}

func (s closedSink) Identity() string { return s.identity }
func (s closedSink) Close() error     { return nil }
