package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// State is where a slice stands in one sink.
type State string

// The states of a slice in one sink. What is unavailable has a table of its own: it isn't a slice.
const (
	Planned     State = "planned"     // will be read
	Reading     State = "reading"     // its read has begun, perhaps in a run that has ended
	Committed   State = "committed"   // the sink has it
	Split       State = "split"       // met the vendor's cap: its parts took its place
	Failed      State = "failed"      // will be tried again
	Quarantined State = "quarantined" // will be tried again in the next run
)

// isCut is the condition of the index slices_cuts; it must be spelled the same everywhere to be found by it.
const isCut = `state IN ('planned', 'reading', 'failed', 'quarantined')`

// maxText is the most bytes of an error or hint that are kept.
const maxText = 4 << 10

// Cut is a slice that was planned or begun and isn't committed.
type Cut struct {
	flow.Slice
	State    State
	Attempts uint32 // reads that have begun
	Kind     fault.Kind
	Error    string // of the last attempt; empty unless failed or quarantined
	Hint     string
}

// Plan makes cuts durable before any of them begins. Slices that have a row already keep it, except that one that was split is
// planned again.
func (l *Ledger) Plan(ctx context.Context, sinks []string, slices []flow.Slice) error {
	return l.write(ctx, fmt.Sprintf("plan %d slices", len(slices)), func(ctx context.Context, tx *sql.Tx) error {
		return l.each(ctx, tx, sinks, slices, l.plan)
	})
}

// each calls f with row IDs for every sink and slice.
func (l *Ledger) each(ctx context.Context, tx *sql.Tx, sinks []string, slices []flow.Slice,
	f func(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice) error,
) error {
	for _, s := range slices {
		if err := s.Validate(); err != nil {
			return fault.New(fault.Bug, "ledger", "", err)
		}
		partitionID, err := l.makePartitionID(ctx, tx, s.Partition)
		if err != nil {
			return err
		}
		for _, sink := range sinks {
			sinkID, err := l.mustSinkID(ctx, tx, sink)
			if err != nil {
				return err
			}
			if err := f(ctx, tx, sinkID, partitionID, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Ledger) plan(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO slices (sink_id, partition_id, slice, from_ms, to_ms, rev, state, at_ms)
		VALUES (?, ?, ?, ?, ?, ?, 'planned', ?)
		ON CONFLICT (sink_id, slice) DO UPDATE SET state = 'planned', attempts = 0, at_ms = excluded.at_ms WHERE state = 'split'`,
		sinkID, partitionID, s.ID.String(), s.From.UnixMilli(), s.To.UnixMilli(), s.Rev, l.now().UnixMilli())
	return err
}

// Begin makes durable that a slice is about to be read for some sinks; attempt counts its tries from 0. ErrCommitted if one of
// them has it already: then nothing is written.
func (l *Ledger) Begin(ctx context.Context, sinks []string, s flow.Slice, attempt uint32) error {
	return l.write(ctx, "begin "+s.String(), func(ctx context.Context, tx *sql.Tx) error {
		return l.each(ctx, tx, sinks, []flow.Slice{s}, func(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice) error {
			return l.settle(ctx, tx, sinkID, partitionID, s, row{state: Reading, attempts: int64(attempt) + 1})
		})
	})
}

// Fail writes down why a slice wasn't committed and what can be done. state is Failed or Quarantined. Sinks that have committed it
// keep their commit.
func (l *Ledger) Fail(ctx context.Context, sinks []string, s flow.Slice, state State, kind fault.Kind, msg, hint string) error {
	if state != Failed && state != Quarantined {
		return fault.Errorf(fault.Bug, "fail "+s.String(), "state %q", state)
	}
	return l.write(ctx, "fail "+s.String(), func(ctx context.Context, tx *sql.Tx) error {
		return l.each(ctx, tx, sinks, []flow.Slice{s}, func(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice) error {
			err := l.settle(ctx, tx, sinkID, partitionID, s,
				row{state: state, attempts: -1, kind: kind.String(), error: clip(msg), hint: clip(hint)})
			return ignoreCommitted(err)
		})
	})
}

// row is what settle changes; attempts -1 keeps their number.
type row struct {
	state             State
	attempts          int64
	rows, bytes       uint64
	kind, error, hint string
}

// settle writes a slice's row unless it is committed: then it returns ErrCommitted.
func (l *Ledger) settle(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice, r row) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO slices (sink_id, partition_id, slice, from_ms, to_ms, rev, state, attempts, rows, bytes,
		kind, error, hint, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, max(?, 0), ?, ?, ?, ?, ?, ?)
		ON CONFLICT (sink_id, slice) DO UPDATE SET state = excluded.state,
		attempts = CASE WHEN ? < 0 THEN attempts ELSE excluded.attempts END, rows = excluded.rows, bytes = excluded.bytes,
		kind = excluded.kind, error = excluded.error, hint = excluded.hint, at_ms = excluded.at_ms WHERE state <> 'committed'`,
		sinkID, partitionID, s.ID.String(), s.From.UnixMilli(), s.To.UnixMilli(), s.Rev, string(r.state), r.attempts,
		int64(r.rows), int64(r.bytes), r.kind, r.error, r.hint, l.now().UnixMilli(), r.attempts)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrCommitted
}

// Split puts parts in the place of a slice that met the vendor's cap, in one transaction: it becomes split, with the rows and bytes
// that were seen as a hint for later cuts, and the parts are planned. The parts must cover the slice exactly. Sinks that have
// committed it meanwhile get no parts.
func (l *Ledger) Split(ctx context.Context, sinks []string, s flow.Slice, parts []flow.Slice, rows, bytes uint64) error {
	if err := fits(s, parts); err != nil {
		return fault.New(fault.Bug, "split "+s.String(), "", err)
	}
	return l.write(ctx, "split "+s.String(), func(ctx context.Context, tx *sql.Tx) error {
		for _, sink := range sinks {
			err := l.each(ctx, tx, []string{sink}, []flow.Slice{s},
				func(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice) error {
					err := l.settle(ctx, tx, sinkID, partitionID, s, row{state: Split, attempts: -1, rows: rows, bytes: bytes})
					if err != nil {
						return ignoreCommitted(err)
					}
					for _, part := range parts {
						if err := l.plan(ctx, tx, sinkID, partitionID, part); err != nil {
							return err
						}
					}
					return nil
				})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// fits checks that parts cover a slice exactly, in time order, and are smaller than it.
func fits(s flow.Slice, parts []flow.Slice) error {
	at := s.From
	for _, p := range parts {
		if p.Partition != s.Partition || p.Rev != s.Rev || !p.From.Equal(at) {
			return fmt.Errorf("part %s doesn't go on where the one before ends (%s)", p, at.UTC().Format(flow.Layout))
		}
		if err := p.Validate(); err != nil {
			return err
		}
		at = p.To
	}
	if len(parts) < 2 || !at.Equal(s.To) {
		return fmt.Errorf("%d parts don't cover the slice", len(parts))
	}
	return nil
}

// GiveUp drops a cut that isn't to run again, for example because someone else covered part of it, and keeps the reason. What is
// committed stays.
func (l *Ledger) GiveUp(ctx context.Context, sinks []string, s flow.Slice, why string) error {
	return l.write(ctx, "give up "+s.String(), func(ctx context.Context, tx *sql.Tx) error {
		return l.each(ctx, tx, sinks, []flow.Slice{s}, func(ctx context.Context, tx *sql.Tx, sinkID, partitionID int64, s flow.Slice) error {
			res, err := tx.ExecContext(ctx, `DELETE FROM slices WHERE sink_id = ? AND slice = ? AND `+isCut, sinkID, s.ID.String())
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO given_up (sink_id, partition_id, slice, from_ms, to_ms, rev, why, at_ms)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, sinkID, partitionID, s.ID.String(), s.From.UnixMilli(), s.To.UnixMilli(), s.Rev,
				clip(why), l.now().UnixMilli())
			return err
		})
	})
}

// Cuts returns the slices of a partition that were planned or begun for a sink and aren't committed, in the order of their start,
// end and revision. They run again whole.
func (l *Ledger) Cuts(ctx context.Context, sink string, p flow.Partition) ([]Cut, error) {
	sinkID, partitionID, ok, err := l.both(ctx, sink, p)
	if err != nil || !ok {
		return nil, err
	}
	var all []Cut
	err = l.query(ctx, "list cuts", func(rows *sql.Rows) error {
		var c Cut
		var id, kind string
		var from, to int64
		var rev uint32
		if err := rows.Scan(&id, &from, &to, &rev, &c.State, &c.Attempts, &kind, &c.Error, &c.Hint); err != nil {
			return err
		}
		c.Kind = fault.ParseKind(kind)
		var err error
		c.Slice, err = sliceOf(id, p, from, to, rev)
		all = append(all, c)
		return err
	}, `SELECT slice, from_ms, to_ms, rev, state, attempts, kind, error, hint FROM slices
		WHERE sink_id = ? AND partition_id = ? AND `+isCut+` ORDER BY from_ms, to_ms, rev`, sinkID, partitionID)
	return all, err
}

func ignoreCommitted(err error) error {
	if errors.Is(err, ErrCommitted) {
		return nil
	}
	return err
}

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + " ..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
