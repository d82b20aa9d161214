package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// TestAPluginThatEndsOutsideOfAReadIsStartedAgain lets the plugin crash while it plans and while it is asked for the clock.
func TestAPluginThatEndsOutsideOfAReadIsStartedAgain(t *testing.T) {
	for _, call := range []string{"plan", "now"} {
		t.Run(call, func(t *testing.T) {
			b := newBench(t, 1, 1)
			left := 3
			b.source.crash = func(c string) error {
				if c != call || left == 0 {
					return nil
				}
				left--
				return fault.New(fault.Crash, "plugin", "", errors.New("ended unexpectedly"))
			}
			s, err := b.run(span(0, 100))
			if err != nil || !s.Complete() {
				t.Fatalf("complete %t, error %v", s.Complete(), err)
			}
			if b.starts != 4 {
				t.Errorf("%d starts, want a fresh process after each of 3 crashes", b.starts)
			}
		})
	}
}

// TestAPluginThatAlwaysEndsStopsThePipeline has a bound on fresh starts.
func TestAPluginThatAlwaysEndsStopsThePipeline(t *testing.T) {
	for _, call := range []string{"plan", "now"} {
		t.Run(call, func(t *testing.T) {
			b := newBench(t, 1, 1)
			crash := fault.New(fault.Crash, "plugin", "", errors.New("ended unexpectedly"))
			b.source.crash = func(c string) error {
				if c == call {
					return crash
				}
				return nil
			}
			b.edit = func(c *Config) { c.Attempts = 3 }
			if _, err := b.run(span(0, 100)); !errors.Is(err, crash) {
				t.Errorf("error %v, want %v", err, crash)
			}
			if b.starts != 3 {
				t.Errorf("%d starts, want 3", b.starts)
			}
		})
	}
}

// silentSource never answers what time it is.
type silentSource struct {
	*fakeSource
	asked func()
}

func (s silentSource) Now(ctx context.Context) (time.Time, error) {
	s.asked()
	<-ctx.Done()
	return time.Time{}, fault.New(fault.Canceled, "", "", ctx.Err())
}

// TestDrainEndsAQuestionThatIsNotAnswered doesn't wait for a plugin that is asked for the first time and says nothing.
func TestDrainEndsAQuestionThatIsNotAnswered(t *testing.T) {
	b := newBench(t, 1, 1)
	drain := make(chan struct{})
	b.edit = func(c *Config) {
		c.Start = func(context.Context) (Source, error) { return silentSource{b.source, func() { close(drain) }}, nil }
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := b.runWith(ctx, span(0, 100), drain)
	if fault.KindOf(err) != fault.Canceled || !s.Stopped || ctx.Err() != nil {
		t.Errorf("error %v, stopped %t, %v", err, s.Stopped, ctx.Err())
	}
}

// TestDrainEndsTheFirstContact doesn't wait for a vendor that can't be reached.
func TestDrainEndsTheFirstContact(t *testing.T) {
	b := newBench(t, 1, 1)
	drain := make(chan struct{})
	b.source.crash = func(string) error { return fault.New(fault.Transient, "clock", "", errors.New("refused")) }
	b.edit = func(c *Config) { c.MaxBackoff = time.Hour; c.Attempts = 1000 }
	b.during = func(e Event) {
		if e.Kind == Retry {
			close(drain)
		}
	}
	s, err := b.runWith(context.Background(), span(0, 100), drain)
	if fault.KindOf(err) != fault.Canceled || !s.Stopped {
		t.Errorf("error %v, stopped %t", err, s.Stopped)
	}
}
