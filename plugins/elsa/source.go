// Package elsa is the source for NAVER Cloud ELSA (Effective Log Search & Analytics): the logs of projects, by the download
// API.
//
// A download is a zip archive without a documented layout or order. It goes to a spool file, is unpacked entry by entry under
// limits, and its records are sorted by time before they are sent, in memory that depends neither on their number nor on their size.
// docs/sources/elsa.md is its manual. It deliberately uses neither the vendor's search, which ends at 10,000 records, nor the names that entries
// have.
package elsa

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Name is the source's type in a config.
const Name = "elsa"

// Version is the source's semantic version.
const Version = "0.1.0"

// Definition returns the plugin.
func Definition() plugins.Definition {
	return plugins.Definition{
		Name:    Name,
		Version: Version,
		Streams: streams(),
		Config:  plugins.Schema(configSchema),
		Open:    func(_ context.Context, cfg plugins.Config) (plugins.Source, error) { return open(cfg) },
	}
}

// source implements plugins.Source. Safe for concurrent use.
type source struct {
	client  *client
	schema  *arrow.Schema
	frame   *arrow.Schema
	times   *logtime.Parser // nil: the vendor's times stand
	target  plugins.SliceTarget
	limits  plugins.Limits
	archive archiveLimits
	memory  int // bytes that a sort holds
	spool   spool
	mem     memory.Allocator
	log     *slog.Logger
	now     func() time.Time

	beyondLimit atomic.Bool // an answer held more records than `limit`, so that isn't the cap of an answer
	warned      atomic.Bool // of records at `to`

	mu       sync.Mutex
	timeouts map[flow.SliceID]struct{} // slices whose last answer was a gateway's timeout
}

var (
	_ plugins.Source      = (*source)(nil)
	_ plugins.Clock       = (*source)(nil)
	_ plugins.Checker     = (*source)(nil)
	_ plugins.Discoverer  = (*source)(nil)
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
		log.Warn("projects or fields named twice are read once", "names", s.doubled)
	}
	if base, err := rest.ParseBaseURL(s.baseURL(), true); err == nil && showsRecords(base) {
		log.Warn("base_url is plain http: the network sees the records, and whoever sits in it can change them", "base_url", s.BaseURL)
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
	return &source{
		client: c, schema: schema, frame: frameSchema(schema), times: times,
		target: cfg.Slice, limits: cfg.Limits, archive: defaultLimits, memory: sortMemory, spool: spool{cfg.Spool},
		mem: plugins.NewAllocator(), log: log, now: time.Now, timeouts: map[flow.SliceID]struct{}{},
	}, nil
}

// Close implements io.Closer.
func (s *source) Close() error { return s.client.rest.Close() }

// Partitions implements plugins.Partitioner: the projects.
func (s *source) Partitions(_ context.Context, stream string) ([]plugins.PartitionKey, error) {
	if err := known(stream); err != nil {
		return nil, err
	}
	keys := make([]plugins.PartitionKey, 0, len(s.client.settings.Projects))
	for _, p := range s.client.settings.Projects {
		keys = append(keys, plugins.PartitionKey{Key: p.Key})
	}
	return keys, nil
}

// Now implements plugins.Clock.
func (s *source) Now(ctx context.Context) (time.Time, error) { return s.client.rest.Now(ctx) }

// Check implements plugins.Checker.
func (s *source) Check(ctx context.Context) (string, error) { return s.client.check(ctx) }

// Discover implements plugins.Discoverer.
func (s *source) Discover(ctx context.Context, yield func(plugins.Found) error) error {
	return s.client.discover(ctx, yield)
}

// Plan implements plugins.Source.
func (s *source) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	if err := known(g.Stream); err != nil {
		return nil, err
	}
	return plugins.CutGap(g, s.target, plugins.CutOptions{RowCap: s.client.settings.Count, Limit: s.client.limit}), nil
}

// Read implements plugins.Source.
func (s *source) Read(ctx context.Context, slice flow.Slice, out plugins.Emitter) error {
	if err := known(slice.Stream); err != nil {
		return err
	}
	p, ok := s.client.settings.project(slice.Key)
	if !ok {
		return fault.Errorf(fault.Bug, "read "+slice.String(), "project %q is none of the settings'", slice.Key)
	}
	opener, ok := out.(plugins.Opener)
	if !ok {
		return fault.Errorf(fault.Bug, "read "+slice.String(), "the emitter %T can't be told which columns are constant", out)
	}
	observed := s.now()
	answer, err := s.client.open(ctx, p, slice, out.Waiting)
	if err != nil {
		return s.timedOut(slice, err)
	}
	defer answer.Close()
	opening := plugins.Opening{Constants: constants(s.mem, s.schema, slice, observed), VendorTime: answer.Date}
	err = opener.Open(ctx, opening)
	opening.Constants.Release()
	if err != nil {
		return err
	}
	file, size, err := fetch(answer, s.spool, s.archive.size)
	if err != nil {
		return err
	}
	// Its name is gone already, and nothing of it is wanted behind this read.
	defer func() { _ = file.Close() }()
	answer.Close()
	if err := out.Waiting(time.Time{}, "unpacking"); err != nil {
		return err
	}
	a, err := openArchive(file, size, s.archive, s.now)
	if err != nil {
		return err
	}
	sorted := newSorter(s.memory, s.spool.create)
	defer sorted.close()
	d := newDecoder(out, slice, a, sorted, &s.client.settings, s.limits)
	if err := d.run(ctx); err != nil {
		return err
	}
	if s.capped(d.rows) {
		parts := plugins.SplitTruncated(slice, d.order.evidence(slice))
		return plugins.Truncated(slice, d.rows, d.bytes, parts...)
	}
	s.warn(slice, d.counts)
	return s.emit(ctx, slice, sorted, out)
}

// emit sends the rows in the order of the vendor's times.
func (s *source) emit(ctx context.Context, slice flow.Slice, rows *sorter, out plugins.Emitter) error {
	b := newBatcher(s.mem, s.frame, s.limits, out)
	b.times, b.received = s.times, slice.Range()
	defer b.release()
	if err := rows.each(ctx, func(packed []byte) error { return b.add(ctx, packed) }); err != nil {
		return err
	}
	return b.flush(ctx)
}

// capped says whether the answer may have been cut: by our count; by the documented one that a higher one of ours may not
// have lifted; or by `limit`, as long as no answer has shown that it doesn't cut.
func (s *source) capped(rows uint64) bool {
	o := &s.client.settings
	if rows > o.Limit {
		s.beyondLimit.Store(true)
	}
	return rows >= o.Count || rows == documentedCount || rows == o.Limit && !s.beyondLimit.Load()
}

// warn tells what an answer shows about the vendor's `to`.
func (s *source) warn(slice flow.Slice, counts map[string]uint64) {
	if counts[countAtEnd] > 0 && !s.client.settings.inclusive && s.warned.CompareAndSwap(false, true) {
		s.log.Warn("the vendor includes the millisecond of `to`, so that records on a seam come twice: set to_bound to inclusive, for a new selection or before the first run",
			"slice", slice.String(), "records", counts[countAtEnd])
	}
}

const (
	shortestTimeout = time.Hour // a slice of this length or less isn't cut because of timeouts: then it is an outage
	mostTimeouts    = 1024      // slices that are remembered
)

// timedOut makes the second timeout of the vendor's endpoint on one slice, in a row, a reason to cut it: the range may be more than
// the vendor can gather in time. Other errors stay what they are.
func (s *source) timedOut(slice flow.Slice, err error) error {
	var refused *rest.StatusError
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.As(err, &refused) || refused.Status != http.StatusGatewayTimeout {
		return err
	}
	if _, again := s.timeouts[slice.ID]; !again {
		if len(s.timeouts) >= mostTimeouts {
			clear(s.timeouts)
		}
		s.timeouts[slice.ID] = struct{}{}
		return err
	}
	if slice.To.Sub(slice.From) <= shortestTimeout {
		return err
	}
	delete(s.timeouts, slice.ID)
	return plugins.Truncated(slice, 0, 0, plugins.SplitTruncated(slice, nil)...)
}

func known(stream string) error {
	if stream != streamEvents {
		return fault.Errorf(fault.Config, Name, "there is no stream %q: want %s", stream, streamEvents)
	}
	return nil
}
