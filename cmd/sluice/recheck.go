package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/fault"
)

// setRecheck fills in which committed ranges are read again.
func (h *host) setRecheck(p *assembled, sel selection) {
	p.run.Recheck = pipeline.Recheck{
		After: p.config.Recheck.After, Always: p.config.Recheck.When == config.RecheckAlways, Asked: sel.recheck,
		Memory: pipeline.RecheckMemory,
		Spool: func() (string, error) { // swept with the rest when a run begins
			folder := filepath.Join(h.spoolFolder(), p.config.Name, "recheck")
			return folder, os.MkdirAll(folder, 0o700)
		},
	}
}

// rechecked returns which of a pipeline's streams and sinks can be rechecked, and which can't. A sink is told by what audits says of it.
func rechecked(streams map[string]pipeline.Stream, names []string, sinks []string, audits func(sink string) bool) (can, cannot, left []string) {
	for _, name := range names {
		if streams[name].Rechecks() {
			can = append(can, name)
		} else {
			cannot = append(cannot, name)
		}
	}
	for _, s := range sinks {
		if !audits(s) {
			left = append(left, s)
		}
	}
	return can, cannot, left
}

// Why something isn't rechecked.
const (
	streamNotRechecked = "nothing is added to it late: its records are values that the vendor replaces"
	sinkNotRechecked   = "it can't say what it holds, so what is new to it can't be told"
)

// errRecheck says that a recheck that was asked for could never find anything.
func errRecheck(what string) error {
	return fault.New(fault.Config, "recheck", "remove `recheck`, or read logs into a sink that commits, such as file, parquet or kafka",
		fmt.Errorf("records found late can't be told: %s", what))
}

// mayRecheck refuses a recheck that could never find anything, and names the sinks that it leaves out.
func mayRecheck(p *assembled, log *slog.Logger) error {
	if !p.run.Recheck.Wanted() {
		return nil
	}
	audits := map[string]bool{}
	var names []string
	for _, s := range p.run.Sinks {
		names = append(names, s.Name)
		audits[s.Name] = s.Sink == nil || !s.OneRun && pipeline.Audits(s.Sink) // one that isn't open yet tells later
	}
	var streams []string
	for _, s := range p.streams {
		streams = append(streams, s.Name)
	}
	can, _, left := rechecked(p.run.Streams, streams, names, func(s string) bool { return audits[s] })
	switch {
	case len(can) == 0:
		return usageError(errRecheck(streamNotRechecked))
	case len(left) == len(names):
		return usageError(errRecheck("of " + strings.Join(left, ", ") + ": " + sinkNotRechecked))
	}
	for _, s := range left {
		log.Warn(fmt.Sprintf("sink %s isn't given records found late: %s", s, sinkNotRechecked), "pipeline", p.config.Name)
	}
	return nil
}

// checkedRecheck is what `check` says of rechecks.
type checkedRecheck struct {
	After   []string          `json:"after"`
	When    string            `json:"when"`
	Streams []string          `json:"streams"`
	Without map[string]string `json:"without,omitempty"` // streams and sinks that aren't rechecked, and why
	Memory  int64             `json:"memory_bytes"`      // of what counts the records that the sinks hold
}

// recheckOf says what would be rechecked of a pipeline whose sinks aren't open; nil if nothing is to be.
func recheckOf(c *config.Pipeline, p *assembled, all []checkedSink) (*checkedRecheck, error) {
	if len(c.Recheck.After) == 0 {
		return nil, nil
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Name
	}
	can, cannot, left := rechecked(p.run.Streams, c.Streams, names, func(name string) bool {
		at := slices.IndexFunc(all, func(s checkedSink) bool { return s.Name == name })
		return !all[at].AtLeastOnce
	})
	var err error
	switch {
	case len(can) == 0:
		err = errRecheck(streamNotRechecked)
	case len(left) == len(names) && len(names) > 0:
		err = errRecheck("of " + strings.Join(left, ", ") + ": " + sinkNotRechecked)
	}
	if err != nil {
		return nil, err
	}
	out := &checkedRecheck{When: c.Recheck.When, Streams: can, Memory: pipeline.RecheckMemory}
	for _, a := range c.Recheck.After {
		out.After = append(out.After, shortDuration(a))
	}
	for _, name := range cannot {
		out.add("stream "+name, streamNotRechecked)
	}
	for _, name := range left {
		out.add("sink "+name, sinkNotRechecked)
	}
	return out, nil
}

func (k *checkedRecheck) add(what, why string) {
	if k.Without == nil {
		k.Without = map[string]string{}
	}
	k.Without[what] = why
}

// rows are the lines of the table about rechecks.
func (k *checkedRecheck) rows() [][]string {
	if k == nil {
		return nil
	}
	text := strings.Join(k.Streams, ", ") + ": " + strings.Join(k.After, ", ") + " after a range's end, "
	if k.When == config.RecheckAlways {
		text += "always"
	} else {
		text += "unless the vendor's own figures prove that nothing came"
	}
	rows := [][]string{{"  recheck", text}}
	for _, what := range slices.Sorted(maps.Keys(k.Without)) {
		rows = append(rows, []string{"    not " + what, k.Without[what]})
	}
	return rows
}
