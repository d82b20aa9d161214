package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-io/sluice/sinks"
)

// closing is a sink of which only Close is called.
type closing struct {
	sinks.Sink
	close func() error
}

func (c closing) Close() error { return c.close() }

// TestASinkThatDoesNotCloseIsLeft: a call that hangs keeps the process from ending neither by itself nor by what Close waits for.
func TestASinkThatDoesNotCloseIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hold := make(chan struct{})
		defer close(hold)
		failed := errors.New("no space left on device")
		p := &assembled{log: slog.New(slog.NewTextHandler(&log, nil))}
		for name, f := range map[string]func() error{
			"good":  func() error { return nil },
			"bad":   func() error { return failed },
			"stuck": func() error { <-hold; return nil },
		} {
			p.keepSink(name, closing{close: f})
		}
		begun := time.Now()
		if err := p.Close(); !errors.Is(err, failed) {
			t.Errorf("error %v, want %v", err, failed)
		}
		if took := time.Since(begun); took != closeTime {
			t.Errorf("it took %s, want %s", took, closeTime)
		}
		if got := log.String(); !strings.Contains(got, "sink=stuck") || strings.Contains(got, "sink=good") || strings.Contains(got, "sink=bad") {
			t.Errorf("log: %s", got)
		}
		if p.keepSink("late", closing{}) {
			t.Error("a sink that was opened after Close is kept")
		}
		if err := p.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}
