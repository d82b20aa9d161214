package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// TestASinkThatIsAnotherWhenItIsOpenedAgain: what the ledger holds is of the first, and nothing goes into the second.
func TestASinkThatIsAnotherWhenItIsOpenedAgain(t *testing.T) {
	for _, failures := range []int{0, 1} { // of the opening, before it opens as another
		t.Run(fmt.Sprint(failures), func(t *testing.T) {
			b := newBench(t, 8, 1)
			other := &fakeSink{store: newFakeStore("another")}
			left := failures
			b.edit = func(c *Config) {
				c.Sinks[0].Open = func(context.Context) (sinks.Sink, error) {
					if left--; left >= 0 {
						return nil, fault.Errorf(fault.Transient, "", "it is starting")
					}
					return other, nil
				}
			}
			b.sinks[0].fail = func(op string, s flow.Slice) error {
				if op == "begin" && s.To.After(midnight) {
					return fault.Errorf(fault.Auth, "", "wrong password")
				}
				return nil
			}
			if _, err := b.run(span(-40, 60)); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "it was sink0 and is another") {
				t.Errorf("got %v, want that it is another", err)
			}
			other.store.wantExactly(t)
			b.sinks[0].store.wantExactly(t, span(-40, 0))
		})
	}
}
