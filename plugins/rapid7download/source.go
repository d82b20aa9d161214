// Package rapid7download is the source for Rapid7 Log Search's download API (InsightIDR, InsightOps, formerly Logentries):
// the lines of logs, selected by the time the vendor received them.
//
// It asks for one log a request, always with an explicit query (the documented default keeps only errors) and an explicit
// limit, so that an answer that was cut by it can be told. docs/sources/rapid7-download.md is its manual. It deliberately
// doesn't parse lines beyond their time, and that only when told to: the text arrives byte for byte.
package rapid7download

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Name is the source's type in a config.
const Name = "rapid7-download"

// Version is the source's semantic version.
const Version = "0.1.0"

// Definition returns the plugin.
func Definition() plugins.Definition {
	return plugins.Definition{
		Name:    Name,
		Version: Version,
		Streams: streams(),
		Config:  plugins.Schema(configSchema),
		Limits:  []plugins.Limit{rapid7.DownloadLimit, rapid7.ManagementLimit, rapid7.UsageLimit},
		Open:    func(_ context.Context, cfg plugins.Config) (plugins.Source, error) { return open(cfg) },
	}
}

// source implements plugins.Source. Safe for concurrent use.
type source struct {
	client  *client
	meter   *rapid7.Meter // nil: a query leaves out records, and figures are of whole logs
	schema  *arrow.Schema
	times   *logtime.Parser // nil: lines aren't looked at
	frame   *arrow.Schema
	target  plugins.SliceTarget
	limits  plugins.Limits
	mem     memory.Allocator // zeroed, for builders
	fast    memory.Allocator // not zeroed, for batches
	buffers *readBuffers
	now     func() time.Time
}

var (
	_ plugins.Source      = (*source)(nil)
	_ plugins.Clock       = (*source)(nil)
	_ plugins.Checker     = (*source)(nil)
	_ plugins.Partitioner = (*source)(nil)
	_ plugins.Meter       = (*source)(nil)
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
	if len(s.doubled) > 0 {
		log.Warn("logs named twice are read once", "logs", s.doubled)
	}
	for _, w := range s.place.Warnings() {
		log.Warn(w)
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
	return &source{
		client: c, meter: c.meter(), schema: schema, times: times, frame: frameSchema(schema, times != nil),
		target: cfg.Slice, limits: cfg.Limits,
		mem: mem, fast: mem.Unzeroed(), buffers: newReadBuffers(), now: time.Now,
	}, nil
}

// Close implements io.Closer.
func (s *source) Close() error { return s.client.rest.Close() }

// Partitions implements plugins.Partitioner: the logs.
func (s *source) Partitions(_ context.Context, stream string) ([]plugins.PartitionKey, error) {
	if err := known(stream); err != nil {
		return nil, err
	}
	keys := make([]plugins.PartitionKey, 0, len(s.client.settings.Logs))
	for _, id := range s.client.settings.Logs {
		keys = append(keys, plugins.PartitionKey{Key: id})
	}
	return keys, nil
}

// Now implements plugins.Clock.
func (s *source) Now(ctx context.Context) (time.Time, error) { return s.client.rest.Now(ctx) }

// Measure implements plugins.Meter: the bytes that a log received on each day, by the vendor's usage figures.
func (s *source) Measure(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error) {
	if err := known(p.Stream); err != nil || s.meter == nil {
		return nil, err
	}
	return s.meter.Measure(ctx, p.Key, r)
}

// Check implements plugins.Checker.
func (s *source) Check(ctx context.Context) (string, error) { return s.client.check(ctx) }

// Read implements plugins.Source.
func (s *source) Read(ctx context.Context, slice flow.Slice, out plugins.Emitter) error {
	if err := known(slice.Stream); err != nil {
		return err
	}
	if !slices.Contains(s.client.settings.Logs, slice.Key) {
		return fault.Errorf(fault.Bug, "read "+slice.String(), "log %q is none of the settings'", slice.Key)
	}
	opener, ok := out.(plugins.Opener)
	if !ok {
		return fault.Errorf(fault.Bug, "read "+slice.String(), "the emitter %T can't be told which columns are constant", out)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	observed := s.now()
	news := &news{emit: out.Waiting}
	answer, err := s.client.open(ctx, slice, news.waiting)
	if err != nil {
		return err
	}
	defer answer.Close()
	opening := plugins.Opening{Constants: constants(s.mem, s.schema, s.times != nil, slice, observed), VendorTime: answer.Date}
	err = opener.Open(ctx, opening)
	opening.Constants.Release()
	if err != nil {
		return err
	}
	d := newDecoder(s.frame, s.fast, s.limits, out, s.now)
	d.times, d.received = s.times, slice.Range()
	defer d.release()
	in := newReadAhead(answer, s.buffers, news)
	// The reader may be waiting for the vendor: first end that, then wait for it.
	defer in.close()
	defer cancel()
	if err := d.run(ctx, in, s.client.settings.most()); err != nil {
		return err
	}
	if d.rows >= s.client.settings.most() {
		return truncated(slice, d.rows, d.bytes)
	}
	return nil
}

func known(stream string) error {
	if stream != streamEvents {
		return fault.Errorf(fault.Config, Name, "there is no stream %q: want %s", stream, streamEvents)
	}
	return nil
}
