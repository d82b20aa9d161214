package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

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
	p.mu.Lock()
	defer p.mu.Unlock()
	if before := p.opened[s.Name]; before != nil {
		delete(p.opened, s.Name)
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
	sink, err := d.Open(ctx, c)
	if err != nil {
		return nil, sinkOpenError(s.Name, err)
	}
	if p.opened == nil {
		p.opened = map[string]sinks.Sink{}
	}
	p.opened[s.Name] = sink
	if err := h.register(ctx, p.config, s, sink); err != nil {
		return sink, err
	}
	return sink, h.keepDeadline(ctx, sink)
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
