package kafka

import (
	"testing"

	"github.com/sluice-io/sluice/sinks/sinktest"
)

// The whole suite, every step, against a cluster in this process.
func TestConformance(t *testing.T) {
	t.Parallel()
	address := fake(t)
	sinktest.RunRemote(t, func(*testing.T) sinktest.Remote { return newRig(address).remote(1) })
}

// The suite against a real broker, a few of the steps.
func TestConformanceReal(t *testing.T) {
	t.Parallel()
	address := broker(t).Address
	sinktest.RunRemote(t, func(*testing.T) sinktest.Remote { return newRig(address).remote(12) })
}
