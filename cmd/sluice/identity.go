package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// knownSink finds what a sink of the config is called in the ledger without opening it: by the owner of its folder, else
// by its place, else, for sinks without a folder, by its name in the pipeline. ok is false for a sink that doesn't exist yet.
func knownSink(ctx context.Context, l *ledger.Ledger, c *config.Config, p *config.Pipeline, s config.Sink) (info ledger.SinkInfo, ok bool, err error) {
	all, err := l.Sinks(ctx)
	if err != nil {
		return info, false, err
	}
	if root := sinkRoot(s.Config.JSON, c.Dir, p); root != "" {
		identity, owned := sinkOwner(root)
		for _, k := range all {
			if owned && k.Identity == identity || !owned && k.Location == root {
				return k, true, nil
			}
		}
		return ledger.SinkInfo{Identity: identity, Pipeline: p.Name, Name: s.Name, Type: s.Type, Location: root}, owned, nil
	}
	if d, err := sinkDefinition(s.Type); err == nil && d.OneRun {
		return info, false, nil // it is another one in each run
	}
	for _, k := range all {
		if k.Pipeline == p.Name && k.Name == s.Name && k.Type == s.Type {
			return k, true, nil
		}
	}
	return info, false, nil
}

// sinkRoot is the real path of the folder that a sink's settings name, empty for sinks without one.
func sinkRoot(settings json.RawMessage, base string, p *config.Pipeline) string {
	var folder struct {
		Path string `json:"path"`
	}
	// Settings may be of any shape; only those with a path have a folder.
	if json.Unmarshal(settings, &folder) != nil || folder.Path == "" {
		return ""
	}
	root := config.ExpandRoot(folder.Path, p)
	if !filepath.IsAbs(root) {
		root = filepath.Join(base, root)
	}
	// What isn't there yet lies in what is: the links on the way are resolved all the same.
	for at, rest := filepath.Clean(root), ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return root
		}
	}
}

// checkPlace refuses to open a sink at a place where the ledger knows one that isn't there: opening would make an empty
// sink in an unmounted folder's place, and ask for everything again.
func (h *host) checkPlace(ctx context.Context, p *config.Pipeline, c sinks.Config) error {
	root := sinkRoot(c.Settings, c.Base, p)
	if root == "" {
		return nil
	}
	known, ok, err := h.ledger.SinkAt(ctx, root)
	if err != nil || !ok {
		return err
	}
	if _, err := commitlog.ReadOwner(commitlog.OS{}, root); !errors.Is(err, fs.ErrNotExist) {
		return nil // whose it is RegisterSink looks at, and opening tells what is wrong with a sink that is there
	}
	return fault.New(fault.Config, "", "mount the folder or move it back; if its data was removed on purpose: `sluice ledger rebuild`",
		fmt.Errorf("%s holds no sink, and the ledger knows sink %s there: is it mounted? was it moved?", root, known.Identity))
}

const deadlineKey = "deadline:"

// keepDeadline writes down how long a sink lets transactions stay open, which may be known only to the target: `plan` and `check` don't
// open it.
func (h *host) keepDeadline(ctx context.Context, sink sinks.Sink) error {
	d, ok := sink.(sinks.Deadliner)
	if !ok {
		return nil
	}
	before, err := h.ledger.Number(ctx, deadlineKey+sink.Identity())
	if now := d.Deadline().Seconds(); err == nil && now != before {
		return h.ledger.SetNumber(ctx, deadlineKey+sink.Identity(), now)
	}
	return err
}

// deadlineOf is how long a sink lets transactions stay open, as far as its settings tell or its last run knew; 0: without a limit,
// or not known.
func (h *host) deadlineOf(ctx context.Context, d sinks.Definition, c sinks.Config, identity string) (time.Duration, error) {
	if d.Deadline != nil {
		if deadline, err := d.Deadline(c); err != nil || deadline > 0 {
			return deadline, err
		}
	}
	seconds, err := h.ledger.Number(ctx, deadlineKey+identity)
	return time.Duration(seconds * float64(time.Second)), err
}

// closedSink stands for a sink that isn't opened: only its identity is known.
type closedSink struct {
	sinks.Sink
	identity string
	deadline time.Duration
}

// Deadline implements sinks.Deadliner.
func (s closedSink) Deadline() time.Duration { return s.deadline }

func (s closedSink) Identity() string { return s.identity }
func (s closedSink) Close() error     { return nil }
