package pipeline

import (
	"context"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// TestASinkThatIsAnotherWhenItIsOpenedAgain: what the ledger holds is of the first, and nothing goes into the second.
func TestASinkThatIsAnotherWhenItIsOpenedAgain(t *testing.T) {
	b := newBench(t, 8, 1)
	other := &fakeSink{store: newFakeStore("another")}
	b.edit = func(c *Config) {
		c.Sinks[0].Open = func(context.Context) (sinks.Sink, error) { return other, nil }
	}
	b.sinks[0].fail = func(op string, s flow.Slice) error {
		if op == "begin" && s.To.After(midnight) {
			return fault.Errorf(fault.Auth, "", "wrong password")
		}
		return nil
	}
	if _, err := b.run(span(-40, 60)); fault.KindOf(err) != fault.Config {
		t.Errorf("got %v, want that it is another", err)
	}
	other.store.wantExactly(t)
	b.sinks[0].store.wantExactly(t, span(-40, 0))
}
