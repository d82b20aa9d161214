package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/verify"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// What `verify` says of a sink.
const (
	proved     = "proved"
	wrong      = "wrong"
	unreadable = "unreadable" // it couldn't be read now
	unprovable = "unprovable" // it can't be read back at all
	untouched  = "untouched"  // nothing was ever written to it
	unselected = "unselected" // it holds nothing of what --from, --to, --last and --stream choose
)

// verifiedSink is a line of `verify --json`.
type verifiedSink struct {
	V          int     `json:"v"`
	TS         string  `json:"ts"`
	Event      string  `json:"event"` // "sink_verified"
	Pipeline   string  `json:"pipeline"`
	Sink       string  `json:"sink"`
	Type       string  `json:"type"`
	State      string  `json:"state"`
	Why        string  `json:"why,omitempty"` // of what can't be proved
	Slices     uint64  `json:"slices"`
	Rows       uint64  `json:"rows"`
	Bytes      uint64  `json:"bytes"`
	Parts      uint64  `json:"parts"`
	Stored     int64   `json:"stored_bytes"`
	Dead       uint64  `json:"dead"`
	Inexact    uint64  `json:"inexact_slices"`
	Findings   uint64  `json:"findings"`
	Seconds    float64 `json:"seconds"`
	Throughput float64 `json:"mb_per_s"` // of Bytes, in millions
	Error      string  `json:"error,omitempty"`
}

// findingLine is a line of `verify --json`.
type findingLine struct {
	V        int    `json:"v"`
	TS       string `json:"ts"`
	Event    string `json:"event"` // "finding"
	Pipeline string `json:"pipeline"`
	Sink     string `json:"sink"`
	sinks.Finding
	Slice     string `json:"slice,omitempty"`
	Stream    string `json:"stream,omitempty"`
	Partition string `json:"partition,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Rev       uint32 `json:"rev,omitempty"`
}

// canAudit reports whether sinks of a type can be read back, with settings that let them remember what they hold.
func canAudit(d sinks.Definition) bool { return strings.HasPrefix(d.Promise, "exactly once") }

// sink verifies one sink.
func (v *verification) sink(ctx context.Context, p *config.Pipeline, s config.Sink) (verifiedSink, error) {
	out := verifiedSink{V: 1, Event: "sink_verified", Pipeline: p.Name, Sink: s.Name, Type: s.Type, State: proved}
	d, err := sinkDefinition(s.Type)
	if err != nil {
		return out, err
	}
	if !canAudit(d) {
		out.State, out.Why = unprovable, "records that were sent to a sink of type "+s.Type+" can't be read back: for it the ledger is the only account"
		return out, nil
	}
	began := time.Now()
	result, err := v.read(ctx, p, s, d)
	out.Slices, out.Rows, out.Bytes, out.Parts, out.Stored = result.Slices, result.Rows, result.Bytes, result.Parts, result.Stored
	out.Dead, out.Inexact, out.Why, out.Findings = result.Dead, result.Inexact, result.Why, result.Findings
	out.Seconds = time.Since(began).Seconds()
	out.Throughput = float64(result.Bytes) / 1e6 / max(out.Seconds, 1e-3)
	switch {
	case errors.Is(err, sinks.ErrAbsent) && result.Findings == 0:
		out.State, err = untouched, nil
	case errors.Is(err, verify.ErrNotAuditable):
		out.State, out.Why, err = unprovable, "a sink of type "+s.Type+" with these settings can't be read back", nil
	case result.Findings > 0:
		out.State = wrong
	case err == nil && result.Slices == 0 && (!v.asked.Empty() || len(v.sel.streams) > 0):
		out.State = unselected
	}
	v.findings += result.Findings
	return out, err
}

// read opens a sink beside whoever writes to it and reads it.
func (v *verification) read(ctx context.Context, p *config.Pipeline, s config.Sink, d sinks.Definition) (result verify.Result, err error) {
	found := func(f verify.Finding) error { return v.printFinding(p.Name, s.Name, f) }
	known := ledger.SinkInfo{}
	if v.ledger != nil {
		if known, _, err = knownSink(ctx, v.ledger, v.config, p, s); err != nil {
			return result, err
		}
	}
	streams, err := v.streams(ctx, p, s, known.Identity)
	if err != nil || len(streams) == 0 {
		return result, err
	}
	h := &host{config: v.config, ledger: v.ledger, log: v.log.logger, app: v.app}
	c, err := h.sinkConfig(p, s, streams)
	if err != nil {
		return result, err
	}
	c.ReadOnly = true
	sink, err := d.Open(ctx, c)
	if errors.Is(err, sinks.ErrAbsent) {
		return v.absent(ctx, known, err, found)
	}
	if err != nil {
		return result, sinkOpenError(s.Name, err)
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	if lost, err := v.lost(ctx, known, sink); err != nil {
		return result, err
	} else if lost {
		result.Findings++
		return result, found(verify.Finding{Finding: sinks.Finding{
			Kind: verify.KindLost, Path: s.Name, Hint: "is another one mounted, or was it made anew? sluice ledger rebuild takes the sink's word over the ledger's",
			What: fmt.Sprintf("the ledger knows sink %s in its place, and %s is there", known.Identity, sink.Identity()),
		}})
	}
	progress := v.progress(p.Name + "/" + s.Name)
	defer progress.end()
	result, err = verify.Sink(ctx, verify.Config{
		Sink: sink, Ledger: v.ledger, Range: v.asked, Streams: v.sel.streams, Parallel: v.parallel, Running: v.running, Found: found,
		Letters: func(ctx context.Context, r sinks.Receipt) (*sinks.Finding, error) {
			return pipeline.CheckDead(ctx, p.DeadLetter.Path, r)
		},
		Progress: progress.note,
	})
	if err != nil && !errors.Is(err, verify.ErrNotAuditable) && ctx.Err() == nil {
		err = &unreadError{err} // of the sink, and not of the file
	}
	return result, err
}

// lost reports whether another sink is there than the ledger knows in its place. One that the ledger knows, too, is where the settings lead now.
func (v *verification) lost(ctx context.Context, known ledger.SinkInfo, sink sinks.Sink) (bool, error) {
	if v.ledger == nil || known.Identity == "" || known.Identity == sink.Identity() {
		return false, nil
	}
	all, err := v.ledger.Sinks(ctx)
	return !slices.ContainsFunc(all, func(k ledger.SinkInfo) bool { return k.Identity == sink.Identity() }), err
}

// unreadError says that a sink couldn't be read to its end, whatever the reason is called.
type unreadError struct{ error }

// Unwrap implements errors.Unwrap.
func (e *unreadError) Unwrap() error { return e.error }

// absent says of a target that isn't there whether something was committed to it.
func (v *verification) absent(ctx context.Context, known ledger.SinkInfo, err error, found func(verify.Finding) error) (verify.Result, error) {
	var result verify.Result
	if v.ledger == nil || known.Identity == "" {
		return result, err
	}
	slices := uint64(0)
	partitions, lerr := v.ledger.Partitions(ctx, known.Identity)
	for _, p := range partitions {
		totals, terr := v.ledger.Totals(ctx, known.Identity, p)
		lerr = errors.Join(lerr, terr)
		slices += totals.Slices
	}
	if lerr != nil || slices == 0 {
		return result, errors.Join(lerr, err)
	}
	result.Findings++
	return result, found(verify.Finding{Finding: sinks.Finding{
		Kind: sinks.FindingMissing, Path: known.Location, Hint: "mount it or move it back; if it was removed on purpose: sluice ledger rebuild",
		What: fmt.Sprintf("the ledger holds %s of the sink, and its target isn't there", counted(slices, "commit")),
	}})
}

// streams returns those of the source that a sink may hold: what the pipeline writes now, and what the ledger knows.
func (v *verification) streams(ctx context.Context, p *config.Pipeline, s config.Sink, identity string) ([]sinks.Stream, error) {
	d, err := sourceDefinition(p.Source.Type)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range p.Streams {
		if s.Takes(name) {
			names = append(names, name)
		}
	}
	if v.ledger != nil && identity != "" {
		known, err := v.ledger.Partitions(ctx, identity)
		if err != nil {
			return nil, err
		}
		for _, k := range known {
			names = append(names, k.Stream)
		}
	}
	var out []sinks.Stream
	for _, st := range d.Streams {
		if slices.Contains(names, st.Name) {
			out = append(out, sinks.Stream{Name: st.Name, Schema: st.Schema, PartitionBy: st.PartitionBy, DigestColumns: st.DigestColumns})
		}
	}
	if len(out) == 0 {
		return nil, fault.Errorf(fault.Config, "verify", "source %s has none of the streams %v", p.Source.Type, p.Streams)
	}
	return out, nil
}

func (v *verification) printFinding(pipeline, sink string, f verify.Finding) error {
	line := findingLine{V: 1, TS: stamp(time.Now()), Event: "finding", Pipeline: pipeline, Sink: sink, Finding: f.Finding}
	if s := f.Slice; s.Stream != "" {
		line.Slice, line.Rev, line.Stream, line.Partition = s.ID.String(), s.Rev, s.Stream, s.Key
		line.From, line.To = s.From.Format(flow.Layout), s.To.Format(flow.Layout)
	}
	if v.json {
		v.printJSON(line)
		return nil
	}
	text := fmt.Sprintf("%s/%s: %s: %s\n  %s\n", pipeline, sink, f.Kind, f.Path, f.What)
	if f.Slice.Stream != "" {
		text += fmt.Sprintf("  slice %s\n", f.Slice)
	}
	if f.Hint != "" {
		text += fmt.Sprintf("  %s\n", f.Hint)
	}
	return v.printText(text)
}
