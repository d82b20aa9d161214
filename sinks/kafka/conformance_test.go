package kafka

import (
	"sync"
	"testing"

	"github.com/sluice-io/sluice/sinks/sinktest"
)

// The whole suite, every step, against a cluster in this process; with the race detector that takes five times as long.
func TestNoRaceConformance(t *testing.T) {
	address := fake(t)
	sinktest.RunRemote(t, func(*testing.T) sinktest.Remote { return newRig(address).remote(1) })
}

// The same, a few of the steps.
func TestConformance(t *testing.T) {
	t.Parallel()
	address := fake(t)
	sinktest.RunRemote(t, func(*testing.T) sinktest.Remote { return newRig(address).remote(6) })
}

// The suite against a real broker, a few of the steps.
func TestConformanceReal(t *testing.T) {
	t.Parallel()
	address := broker(t).Address
	var seen sync.Map
	sinktest.RunRemote(t, func(t *testing.T) sinktest.Remote {
		if _, again := seen.LoadOrStore(t, true); !again {
			t.Parallel() // each mostly waits for the broker, and has topics of its own
		}
		return newRig(address).remote(12)
	})
}
