package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/sluice-io/sluice/host/verify"
)

// printSink prints what was found out about one sink, or keeps it for the table. err is why it couldn't be read.
func (v *verification) printSink(s verifiedSink, err error) {
	s.TS = stamp(time.Now())
	switch s.State {
	case unreadable:
		v.unread++
	case unprovable:
		v.unprovable++
	}
	v.sinks = append(v.sinks, s)
	switch {
	case v.json:
		s.Error, s.Why = v.log.redactor.Redact(s.Error), v.log.redactor.Redact(s.Why)
		v.printJSON(s)
	case err != nil:
		v.printError(fmt.Errorf("%s/%s couldn't be read: %w", s.Pipeline, s.Sink, err))
	}
}

// printVerified prints the table of all sinks, and what the figures in it don't say.
func (v *verification) printVerified() error {
	rows := [][]string{{"SINK", "TYPE", "SLICES", "RECORDS", "BYTES", "FILES", "DEAD", "MB/S", "FINDINGS", "STATE"}}
	for _, s := range v.sinks {
		row := []string{s.Pipeline + "/" + s.Sink, s.Type, "", "", "", "", "", "", "", s.State}
		if s.State != unprovable && s.State != untouched {
			files := ""
			if s.Parts > 0 {
				files = fmt.Sprintf("%s, %s", grouped(s.Parts), size(uint64(s.Stored)))
			}
			copy(row[2:], []string{
				grouped(s.Slices), grouped(s.Rows), size(s.Bytes), files, grouped(s.Dead), fmt.Sprintf("%.0f", s.Throughput), grouped(s.Findings),
			})
		}
		rows = append(rows, row)
	}
	if err := v.printTable(rows); err != nil {
		return err
	}
	for _, s := range v.sinks {
		switch {
		case s.State == unprovable:
			v.say("%s/%s: %s", s.Pipeline, s.Sink, s.Why)
		case s.Inexact > 0:
			v.say("%s/%s: in %s %s", s.Pipeline, s.Sink, counted(s.Inexact, "slice"), s.Why)
		case s.State == unselected:
			v.say("%s/%s: nothing was selected, so nothing was proved: none of its slices is in the range and of the streams that were asked for", s.Pipeline, s.Sink)
		case s.State == untouched:
			v.say("%s/%s: nothing was written to it yet", s.Pipeline, s.Sink)
		}
	}
	return nil
}

// verifyProgress keeps one line on a terminal, and elsewhere says now and then how far it is.
type verifyProgress struct {
	app   *app
	name  string
	began time.Time

	mu    sync.Mutex
	told  time.Time
	drawn bool
}

const (
	progressDrawn  = 200 * time.Millisecond
	progressLogged = 30 * time.Second
)

func (v *verification) progress(name string) *verifyProgress {
	now := time.Now()
	return &verifyProgress{app: v.app, name: name, began: now, told: now}
}

// note takes what has been read so far.
func (p *verifyProgress) note(r verify.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := progressLogged
	if p.drawn = p.app.isTerminal() && !p.app.quiet; p.drawn {
		every = progressDrawn
	}
	now := time.Now()
	if now.Sub(p.told) < every {
		return
	}
	p.told = now
	text := fmt.Sprintf("%s: %s, %s, %s · %.0f MB/s · %s", p.name, counted(r.Slices, "slice"), counted(r.Rows, "record"), size(r.Bytes),
		float64(r.Bytes)/1e6/max(now.Sub(p.began).Seconds(), 1e-3), counted(r.Findings, "finding"))
	if p.drawn {
		p.app.log.out.draw(clip(text, p.app.width()-1))
	} else {
		p.app.log.logger.Info(text)
	}
}

// end takes the line away.
func (p *verifyProgress) end() {
	if p.drawn {
		p.app.log.out.draw("")
	}
}
