package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// ErrFirstRun says that a sink which can't say what it holds would be sent everything, and nobody has said that it should be.
var ErrFirstRun = errors.New("nothing is known of what the sink was given")

// mayBegin refuses a sink without a memory of which the ledger knows nothing: what was sent before, under a ledger that was lost, would
// silently be sent again. The command line says that it may; the ledger keeps the answer.
func (r *run) mayBegin(ctx context.Context, i int) error {
	s := &r.cfg.Sinks[i]
	if s.Sink == nil || s.OneRun {
		return nil
	}
	if _, ok := s.Sink.(sinks.Memory); ok {
		return nil
	}
	l, identity := r.cfg.Ledger, s.Identity()
	info := ledger.SinkInfo{Identity: identity, Pipeline: r.cfg.Name, Name: s.Name, Type: s.Type}
	from, ok, err := l.Accepted(ctx, identity)
	switch {
	case err != nil:
		return err
	case ok && !r.asked.From.Before(from):
		return nil
	case r.cfg.FirstRun:
		return l.Accept(ctx, info, time.Time{})
	case r.cfg.FromSaid && (!ok || r.asked.From.Before(from)):
		return l.Accept(ctx, info, r.asked.From)
	case ok:
		return r.firstRun(s, fmt.Errorf("%w before %s: the run that began there was told so by --from, and this one would begin at %s",
			ErrFirstRun, from.Format(time.RFC3339), r.asked.From.Format(time.RFC3339)))
	}
	if rows, err := l.Partitions(ctx, identity); err != nil || len(rows) > 0 {
		return err
	}
	seen, before, err := l.Seen(identity)
	if err != nil {
		return err
	}
	if before {
		return r.firstRun(s, fmt.Errorf("%w: this state has written to it since %s, and its ledger is new or was emptied",
			ErrFirstRun, seen.Since.Format(time.RFC3339)))
	}
	return r.firstRun(s, fmt.Errorf("%w: everything from %s on would be sent to it", ErrFirstRun, r.asked.From.Format(time.RFC3339)))
}

func (r *run) firstRun(s *Sink, err error) error {
	return fault.New(fault.Config, "sink "+s.Name,
		"a sink of this type keeps no account, so records that it has already would be there twice; if that is meant, or it is new: "+
			"`sluice run "+r.cfg.Name+" --first-run`, or --from TIME for what begins there", err)
}
