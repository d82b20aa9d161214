package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// openSinks opens the chosen sinks and makes them known to the ledger.
func (h *host) openSinks(ctx context.Context, p *assembled, sel selection, streams []sinks.Stream) error {
	for _, s := range p.config.Sinks {
		if !chosen(sel.sinks, s.Name) {
			continue
		}
		streams := takenBy(s, streams)
		if len(streams) == 0 {
			continue // --stream leaves none of its streams
		}
		definition, err := sinkDefinition(s.Type)
		if err != nil {
			return usageError(err)
		}
		one := pipeline.Sink{Name: s.Name, Type: s.Type, Streams: s.Streams, OneRun: definition.OneRun, Hourly: isHourly(s)}
		one.Open = func(ctx context.Context) (sinks.Sink, error) { return h.openSink(ctx, p, s, definition, streams) }
		if definition.Online != nil {
			one.Probe = func(ctx context.Context) error { return h.probe(ctx, p, s, definition, streams) }
		}
		if s.OnFailure == config.OnFailureDetach {
			one.Patience = s.DetachAfter
		}
		if one.Sink, err = one.Open(ctx); err != nil && !mayOpenLater(err, s) {
			return err
		}
		if err != nil { // the pipeline tries again, before it begins or beside the others
			info, _, known := knownSink(ctx, h.ledger, h.config, p.config, s)
			if known != nil {
				return known
			}
			one.Known, one.Sink = info.Identity, nil
		}
		p.run.Sinks = append(p.run.Sinks, one)
	}
	if len(p.run.Sinks) == 0 {
		return usageError(fmt.Errorf("pipeline %s: %w", p.config.Name, noneLeft(p.config)))
	}
	p.run.FirstRun, p.run.FromSaid = sel.firstRun, sel.from != nil
	return nil
}

// noneLeft says which sinks there are where flags choose none of them.
func noneLeft(c *config.Pipeline) error {
	all := make([]string, len(c.Sinks))
	for i, s := range c.Sinks {
		all[i] = fmt.Sprintf("%s (%s)", s.Name, strings.Join(s.Streams, ", "))
	}
	return fault.New(fault.Config, "", "choose among its sinks and their streams: "+strings.Join(all, ", "),
		errors.New("--sink and --stream leave none of its sinks"))
}

// openSink opens a sink, in the place of the one of that name if there is one, and makes it known to the ledger.
func (h *host) openSink(ctx context.Context, p *assembled, s config.Sink, d sinks.Definition, streams []sinks.Stream) (sinks.Sink, error) {
	if before := p.takeSink(s.Name); before != nil {
		if err := before.Close(); err != nil {
			h.log.Warn("close", "pipeline", p.config.Name, "sink", s.Name, "error", err.Error())
		}
	}
	c, err := h.sinkConfig(p.config, s, streams)
	if err != nil {
		return nil, asUsage(err)
	}
	if err := h.checkPlace(ctx, p.config, c); err != nil {
		return nil, fmt.Errorf("sink %s: %w", s.Name, err)
	}
	c.SourceVersion = p.run.SourceVer
	slow := time.AfterFunc(opensWithin, func() {
		p.log.Warn("a sink takes long to open: what it is given waits for it", "sink", s.Name, "after", opensWithin)
	})
	sink, err := d.Open(ctx, c)
	slow.Stop()
	if err != nil {
		return nil, sinkOpenError(s.Name, h.fitHint(err))
	}
	if !p.keepSink(s.Name, sink) {
		return nil, errors.Join(fault.Errorf(fault.Canceled, "sink "+s.Name, "the pipeline has ended"), sink.Close())
	}
	if err := h.register(ctx, p.config, s, sink); err != nil {
		return sink, err
	}
	return sink, h.keepDeadline(ctx, sink)
}

// fitHint puts what can be done without a file in the place of a hint that names keys of one.
func (h *host) fitHint(err error) error {
	if !h.fileless || !errors.Is(err, sinks.ErrOwned) {
		return err
	}
	hint := "choose another DIR; what was downloaded into this one is gone on with by the same line"
	if isHeld(err) {
		hint = "wait for the other to end, or choose another DIR"
	}
	return fault.New(fault.Config, "", hint, err)
}

// opensWithin is how long opening a sink may take before people are told what is waited for.
const opensWithin = 30 * time.Second

// takeSink takes an open sink out of those that Close closes. It returns nil if there is none of that name.
func (p *assembled) takeSink(name string) sinks.Sink {
	p.mu.Lock()
	defer p.mu.Unlock()
	sink := p.opened[name]
	delete(p.opened, name)
	return sink
}

// keepSink has Close close a sink. It returns false after Close: an Open that hung may come back then.
func (p *assembled) keepSink(name string, sink sinks.Sink) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.opened == nil {
		p.opened = map[string]sinks.Sink{}
	}
	p.opened[name] = sink
	return true
}

// closeTime bounds how long sinks are waited for at the end. Close waits for a call that hangs, and what it would give up is swept when the
// sink is opened next, as after a crash.
const closeTime = 5 * time.Second

// closeSinks closes the sinks side by side and names those that it leaves in the log.
func (p *assembled) closeSinks() error {
	p.mu.Lock()
	opened := p.opened
	p.opened, p.closed = nil, true
	p.mu.Unlock()
	type done struct {
		name string
		err  error
	}
	ended := make(chan done, len(opened))
	for name, s := range opened {
		go func() { ended <- done{name, s.Close()} }() // received below, or left
	}
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	var errs []error
	for len(opened) > 0 {
		select {
		case d := <-ended:
			delete(opened, d.name)
			errs = append(errs, d.err)
		case <-timer.C:
			for _, name := range slices.Sorted(maps.Keys(opened)) {
				p.log.Warn("a sink doesn't close: leaving it", "sink", name, "after", closeTime)
			}
			return errors.Join(errs...)
		}
	}
	return errors.Join(errs...)
}

// probe asks whether a sink's target can be reached.
func (h *host) probe(ctx context.Context, p *assembled, s config.Sink, d sinks.Definition, streams []sinks.Stream) error {
	c, err := h.sinkConfig(p.config, s, streams)
	if err != nil {
		return err
	}
	_, err = d.Online(ctx, c)
	return err
}

// mayOpenLater reports whether a sink that couldn't be opened is worth waiting for, or going on without.
func mayOpenLater(err error, s config.Sink) bool {
	var coded *exitError
	kind := fault.KindOf(err)
	switch {
	case kind == fault.Config, errors.Is(err, sinks.ErrOwned), errors.As(err, &coded) && coded.code != exitFailed:
		return false // a person has to do something
	case s.OnFailure == config.OnFailureDetach:
		return true
	}
	return kind == fault.Transient || kind == fault.Throttled
}

// isHourly reports whether a template of a sink's settings tells hours apart.
func isHourly(s config.Sink) bool {
	settings, _, err := s.Config.Resolve(config.Environment{})
	if err != nil {
		settings = s.Config.JSON // why it can't be resolved is told when it is opened
	}
	return bytes.Contains(settings, []byte("{hour}"))
}

// takenBy returns those of the streams that a sink is given.
func takenBy(s config.Sink, streams []sinks.Stream) []sinks.Stream {
	var out []sinks.Stream
	for _, stream := range streams {
		if s.Takes(stream.Name) {
			out = append(out, stream)
		}
	}
	return out
}

// sinkConfig resolves a sink's settings, secrets read anew each time. streams are those that the sink takes.
func (h *host) sinkConfig(c *config.Pipeline, s config.Sink, streams []sinks.Stream) (sinks.Config, error) {
	settings, secrets, err := s.Config.Resolve(config.Environment{})
	if err != nil {
		return sinks.Config{}, err
	}
	h.app.log.redactor.Add(secrets)
	return sinks.Config{
		Settings: settings, Base: h.config.Dir, Pipeline: c.Name, Source: c.Source.Type, Labels: c.Labels, Name: s.Name,
		Streams: streams, Sluice: buildVersion(), NewSelection: h.newSelection,
		Stdout: h.app.stdout, Log: h.log.With("pipeline", c.Name, "sink", s.Name),
	}, nil
}

func (h *host) register(ctx context.Context, c *config.Pipeline, s config.Sink, sink sinks.Sink) error {
	info := ledger.SinkInfo{Identity: sink.Identity(), Pipeline: c.Name, Name: s.Name, Type: s.Type}
	_, info.Memory = sink.(sinks.Memory)
	if l, ok := sink.(sinks.Locator); ok {
		info.Location = l.Location()
	}
	return h.ledger.RegisterSink(ctx, info, sinkOwner)
}
