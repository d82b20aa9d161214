package kafka

import (
	"context"
	"fmt"

	"github.com/sluice-io/sluice/sinks"
)

// visit opens a target that is there to read it: nobody is fenced, and nothing is written.
func (k *Sink) visit(ctx context.Context) error {
	t, err := k.cluster.describe(ctx, k.set.MarkerTopic)
	if err != nil {
		return err
	}
	if t == nil {
		return fmt.Errorf("marker topic %s: %w", k.set.MarkerTopic, sinks.ErrAbsent)
	}
	have, err := k.readOwner(ctx)
	if err != nil {
		return err
	}
	if have == nil {
		return fmt.Errorf("marker topic %s has no owner of topic %s: %w", k.set.MarkerTopic, k.topic.String(), sinks.ErrAbsent)
	}
	want := k.wanted(have.Markers)
	for name := range want.Streams {
		if own, known := have.Streams[name]; known {
			want.Streams[name] = own // whoever only reads needs not know what was selected
		}
	}
	k.markers = have.Markers
	_, _, err = merge(have, want)
	return err
}

// learn brings what is known of a partition up to date. A reader fences nobody, so a transaction that is open may end after it. l is locked.
func (k *Sink) learn(ctx context.Context, l *lane) error {
	if !k.conf.ReadOnly {
		return k.own(ctx, l)
	}
	if err := k.checkOpen(); err != nil {
		return err
	}
	return k.readMarkers(ctx, k.markerPartition(l.Partition))
}
