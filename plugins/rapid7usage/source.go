// Package rapid7usage is the source for Rapid7 Log Search's usage API (InsightIDR, InsightOps, formerly Logentries): how
// many bytes each log received on each UTC day.
//
// It asks for one day a request and takes no other day's figures, and it leaves a day alone until its figures have settled,
// so that no day is ever read with a figure that still grows. docs/sources/rapid7-usage.md is its manual. What the usage API
// says is read by package rapid7. It deliberately invents nothing: a log without a figure has no record.
package rapid7usage

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Name is the source's type in a config.
const Name = "rapid7-usage"

// Version is the source's semantic version.
const Version = "0.1.0"

// Definition returns the plugin.
func Definition() plugins.Definition {
	return plugins.Definition{
		Name:    Name,
		Version: Version,
		Streams: streams(),
		Config:  plugins.Schema(configSchema),
		Limits:  []plugins.Limit{rapid7.UsageLimit, rapid7.ManagementLimit},
		Open:    func(_ context.Context, cfg plugins.Config) (plugins.Source, error) { return open(cfg) },
	}
}

// source implements plugins.Source. Safe for concurrent use.
type source struct {
	client *rest.Client
	usage  *rapid7.Usage
	settle time.Duration
}

var (
	_ plugins.Source  = (*source)(nil)
	_ plugins.Clock   = (*source)(nil)
	_ plugins.Checker = (*source)(nil)
	_ plugins.Settler = (*source)(nil)
)

func open(cfg plugins.Config) (*source, error) {
	s, err := parseSettings(cfg.Settings)
	if err != nil {
		return nil, fault.New(fault.Config, "read the settings of "+Name, "", err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	for _, w := range s.place.Warnings() {
		log.Warn(w)
	}
	c, err := newClient(s, cfg)
	if err != nil {
		return nil, err
	}
	u := &rapid7.Usage{
		Client: c, Place: s.place, Source: Name, Form: s.Form, Logs: s.Logs, Account: s.AccountID, TimeRange: s.TimeRange,
		Limit: s.Limit(rapid7.UsageLimit), Mem: plugins.NewAllocator(), Now: time.Now,
	}
	if s.LogNames {
		u.Names = rapid7.NewLogNames(c, rapid7.ManagementLimit, time.Now, log)
	}
	return &source{client: c, usage: u, settle: time.Duration(s.Settle)}, nil
}

// Close implements io.Closer.
func (s *source) Close() error { return s.client.Close() }

// Now implements plugins.Clock.
func (s *source) Now(ctx context.Context) (time.Time, error) { return s.client.Now(ctx) }

// Check implements plugins.Checker.
func (s *source) Check(ctx context.Context) (string, error) { return s.usage.Check(ctx) }

// Settle implements plugins.Settler.
func (s *source) Settle(string) time.Duration { return s.settle }

// Plan implements plugins.Source.
func (s *source) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	if err := known(g.Stream); err != nil {
		return nil, err
	}
	return s.usage.Plan(g), nil
}

// Read implements plugins.Source.
func (s *source) Read(ctx context.Context, slice flow.Slice, out plugins.Emitter) error {
	if err := known(slice.Stream); err != nil {
		return err
	}
	return s.usage.Read(ctx, slice, out)
}

func known(stream string) error {
	if stream != rapid7.StreamUsage {
		return fault.Errorf(fault.Config, Name, "there is no stream %q: want %s", stream, rapid7.StreamUsage)
	}
	return nil
}
