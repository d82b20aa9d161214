// Package logentries is the source for Rapid7 Log Search's query API (InsightIDR, InsightOps, formerly Logentries): the events
// of logs with the time at which the vendor received each, what the account holds (logs, log sets, saved queries, users), and
// its usage.
//
// Events come in pages of 500, each a query that runs at the vendor and is polled until it is finished; a page that breaks
// is asked for again by the last event's time and sequence number. For much data rapid7-download costs less of the vendor's
// limits, but its lines have no times. docs/sources/logentries.md is its manual.
package logentries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Name is the source's type in a config.
const Name = "logentries"

// Version is the source's semantic version.
const Version = "0.1.0"

// Definition returns the plugin.
func Definition() plugins.Definition {
	return plugins.Definition{
		Name:    Name,
		Version: Version,
		Streams: streams(),
		Config:  plugins.Schema(configSchema),
		Limits:  []plugins.Limit{rapid7.QueryLimit, rapid7.PollLimit, rapid7.ManagementLimit, rapid7.UsageLimit},
		Open:    func(_ context.Context, cfg plugins.Config) (plugins.Source, error) { return open(cfg) },
	}
}

// source implements plugins.Source. Safe for concurrent use.
type source struct {
	client    *client
	directory *directory
	usage     *rapid7.Usage
	meter     *rapid7.Meter // nil: a query leaves out events, and figures are of whole logs
	schema    *arrow.Schema // of events
	frame     *arrow.Schema
	times     *logtime.Parser // nil: the vendor's times stand
	target    plugins.SliceTarget
	limits    plugins.Limits
	mem       memory.Allocator
	pace      pace
	perPage   int
	sizes     sizes
	patience  time.Duration // with the vendor when the source is configured
}

var (
	_ plugins.Source      = (*source)(nil)
	_ plugins.Clock       = (*source)(nil)
	_ plugins.Checker     = (*source)(nil)
	_ plugins.Partitioner = (*source)(nil)
	_ plugins.Discoverer  = (*source)(nil)
	_ plugins.Settler     = (*source)(nil)
	_ plugins.Meter       = (*source)(nil)
)

func open(cfg plugins.Config) (*source, error) {
	s, err := parseSettings(cfg.Settings)
	if err != nil {
		return nil, fault.New(fault.Config, "read the settings of "+Name, "", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, w := range s.place.Warnings() {
		cfg.Log.Warn(w)
	}
	times, err := s.Time.Parser()
	if err != nil {
		return nil, fault.New(fault.Config, "read the settings of "+Name, "", err)
	}
	c, err := newClient(s, cfg)
	if err != nil {
		return nil, err
	}
	schema := eventSchema()
	mem := plugins.NewAllocator()
	var meter *rapid7.Meter
	if s.Query == rapid7.MatchAll {
		meter = rapid7.NewMeter(rapid7.Usage{Client: c.rest, Place: s.place, Limit: c.usage, Now: time.Now})
	}
	return &source{
		meter: meter, usage: &rapid7.Usage{
			Client: c.rest, Place: s.place, Source: Name, Form: rapid7.UsageLogs, Limit: c.usage,
			Names: rapid7.NewLogNames(c.rest, c.management, time.Now, cfg.Log), Mem: mem, Now: time.Now,
		},
		client: c, directory: newDirectory(c), schema: schema, frame: project(schema, varies), times: times,
		target: cfg.Slice, limits: cfg.Limits, mem: mem, pace: defaultPace(), perPage: maxPerPage,
		sizes:    sizes{page: pageBytes, single: singleBytes},
		patience: 20 * time.Second,
	}, nil
}

// Close implements io.Closer.
func (s *source) Close() error { return s.client.close() }

// Partitions implements plugins.Partitioner: the logs that the settings name, by ID, name or log set. Without any there
// are none: a config may be after snapshots alone.
func (s *source) Partitions(ctx context.Context, stream string) ([]plugins.PartitionKey, error) {
	if stream != streamEvents {
		if err := known(stream); err != nil {
			return nil, err
		}
		return nil, nil
	}
	// Whoever configures the source takes longer silence for a hang.
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience, errors.New("the vendor takes too long to list logs"))
	defer cancel()
	keys, err := s.directory.chosen(ctx)
	if err == nil && len(keys) == 0 {
		s.client.log.DebugContext(ctx, "no logs and no logsets are named: there are no events to read")
	}
	return keys, err
}

// Now implements plugins.Clock.
func (s *source) Now(ctx context.Context) (time.Time, error) { return s.client.rest.Now(ctx) }

// Check implements plugins.Checker: it lists the logs, resolves those of the settings, and proves the owner key if there is
// one.
func (s *source) Check(ctx context.Context) (string, error) {
	logs, _, err := s.directory.list(ctx, false)
	if err != nil {
		return "", err
	}
	chosen, err := s.directory.chosen(ctx)
	if err != nil {
		return "", err
	}
	settings := s.client.settings
	summary := fmt.Sprintf("the key is valid for %s and sees %d logs, %d are chosen", settings.place, len(logs), len(chosen))
	var missing []string
	for _, k := range chosen {
		if !slices.ContainsFunc(logs, func(l listedLog) bool { return strings.EqualFold(l.ID, k.Key) }) {
			missing = append(missing, k.Key)
		}
	}
	if len(missing) > 0 {
		summary += "; not among them (internal logs aren't listed): " + strings.Join(missing, ", ")
	}
	if settings.OwnerKey != "" {
		account := snapshotOf(streamAccount)
		answer, err := s.ask(ctx, account, nil)
		if err != nil {
			return "", err
		}
		err = account.each(answer, func(item) error { return nil })
		answer.Close()
		if errors.Is(err, rapid7.ErrNoList) {
			err = fault.New(fault.Corrupt, account.op, "check base_url", err)
		}
		if err != nil {
			return "", err
		}
		summary += "; the owner key is valid for account " + settings.AccountID
	}
	return summary, nil
}

// Discover implements plugins.Discoverer: logs and log sets.
func (s *source) Discover(ctx context.Context, yield func(plugins.Found) error) error {
	logs, sets, err := s.directory.list(ctx, true)
	if err != nil {
		return err
	}
	names := func(list []listedName) string {
		out := make([]string, len(list))
		for i, n := range list {
			out[i] = n.Name
		}
		return strings.Join(out, ", ")
	}
	for _, l := range logs {
		if err := yield(plugins.Found{Kind: "log", ID: l.ID, Name: l.Name, Attributes: attributes(
			"source_type", l.SourceType, "retention_period", l.Retention, "logsets", names(l.Sets),
		)}); err != nil {
			return err
		}
	}
	for _, set := range sets {
		if err := yield(plugins.Found{Kind: "logset", ID: set.ID, Name: set.Name, Attributes: attributes("logs", names(set.Logs))}); err != nil {
			return err
		}
	}
	return nil
}

func attributes(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}

// Settle implements plugins.Settler: a day's usage may still grow when the day is over.
func (s *source) Settle(stream string) time.Duration {
	if stream == rapid7.StreamUsage {
		return rapid7.UsageSettle
	}
	return 0
}

// rowCap is how many events a window of the vendor's limit holds: what a slice should stay below.
func (s *source) rowCap() uint64 {
	share := s.client.settings.Budget.Share
	if share == 0 {
		share = rest.DefaultShare
	}
	return uint64(s.perPage) * max(20, uint64(share*float64(s.client.query.Requests)))
}

// Measure implements plugins.Meter: the bytes that a log received on each day, by the vendor's usage figures.
func (s *source) Measure(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error) {
	if err := known(p.Stream); err != nil || p.Stream != streamEvents || s.meter == nil {
		return nil, err
	}
	return s.meter.Measure(ctx, p.Key, r)
}

// Plan implements plugins.Source.
func (s *source) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	if err := known(g.Stream); err != nil {
		return nil, err
	}
	switch g.Stream {
	case streamEvents:
	case rapid7.StreamUsage:
		return s.usage.Plan(g), nil
	default:
		return planSnapshot(g), nil
	}
	return plugins.CutGap(g, s.target, plugins.CutOptions{RowCap: s.rowCap()}), nil
}

// Read implements plugins.Source.
func (s *source) Read(ctx context.Context, slice flow.Slice, out plugins.Emitter) error {
	if err := known(slice.Stream); err != nil {
		return err
	}
	if slice.Stream == rapid7.StreamUsage {
		return s.usage.Read(ctx, slice, out)
	}
	if kind := snapshotOf(slice.Stream); kind != nil {
		return s.readSnapshot(ctx, kind, out)
	}
	return s.readEvents(ctx, slice, out)
}

func bug(op, format string, args ...any) error { return fault.Errorf(fault.Bug, op, format, args...) }
