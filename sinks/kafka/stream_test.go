package kafka

import (
	"context"
	"testing"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestIdempotentConformance(t *testing.T) {
	t.Parallel()
	address := fake(t)
	sinktest.Run(t, func(*testing.T) sinktest.Driver {
		r := newRig(address)
		settings := map[string]any{"delivery": deliverIdempotent}
		return sinktest.Driver{
			Open: func(commitlog.FS, string) (sinks.Sink, error) {
				return Open(context.Background(), r.config(settings))
			},
			Visible:     func(commitlog.FS, string) ([]string, error) { return r.bodies() },
			AtLeastOnce: true,
		}
	})
}

func TestIdempotent(t *testing.T) {
	t.Parallel()
	r := newRig(broker(t).Address)
	k := opened(t, r.config(map[string]any{"delivery": deliverIdempotent}))
	if _, ok := k.(sinks.Memory); ok {
		t.Error("it has a memory")
	}
	if s, ok := k.(sinks.Serial); ok && s.Serial() {
		t.Error("it takes slices one at a time")
	}
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 50)
	for range 2 {
		if _, err := sinktest.Write(begun(t), k, s, bodies); err != nil {
			t.Fatal(err)
		}
	}
	r.wantBodies(t, bodies, bodies)
	if topics, err := admin(t, r.address).ListTopics(begun(t)); err != nil || topics.Has(r.markers) {
		t.Errorf("a marker topic was made: %v", err)
	}
	said, err := Definition.Online(begun(t), r.config(map[string]any{"delivery": deliverIdempotent}))
	if err != nil || said == "" {
		t.Error(said, err)
	}
}
