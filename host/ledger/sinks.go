package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// SinkInfo is what the ledger knows of a sink. Identity is its lasting ID, which every row is keyed by; the others only inform,
// except that Location (a real path, empty for sinks without a place on this machine) must go on holding that identity.
type SinkInfo struct {
	Identity string
	Pipeline string
	Name     string
	Type     string
	Location string
	Memory   bool // the sink can say what it holds: it is the truth and the ledger follows
}

// RegisterSink makes a sink known, or brings what is known of it up to date. A *MovedError if its Location is known for another
// identity, or if the identity is known at another place and look still finds it there. look returns the identity of the sink that
// owns a place, ok false if there is none; it isn't called for sinks without a Location.
func (l *Ledger) RegisterSink(ctx context.Context, info SinkInfo, look func(location string) (identity string, ok bool)) error {
	what := "register sink " + info.Name
	if info.Identity == "" {
		return fault.Errorf(fault.Bug, what, "it has no identity")
	}
	return l.write(ctx, what, func(ctx context.Context, tx *sql.Tx) error {
		if info.Location != "" {
			if err := checkPlace(ctx, tx, info, look); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sinks (identity, pipeline, name, type, location, memory, registered_ms)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (identity) DO UPDATE SET pipeline = excluded.pipeline, name = excluded.name,
			type = excluded.type, location = excluded.location, memory = excluded.memory, registered_ms = excluded.registered_ms`,
			info.Identity, info.Pipeline, info.Name, info.Type, info.Location, info.Memory, l.now().UnixMilli())
		return err
	})
}

func checkPlace(ctx context.Context, tx *sql.Tx, info SinkInfo, look func(string) (string, bool)) error {
	var known string
	err := tx.QueryRowContext(ctx, `SELECT identity FROM sinks WHERE location = ?`, info.Location).Scan(&known)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case known != info.Identity:
		return fault.New(fault.Config, "", hintMoved, &MovedError{Location: info.Location, Known: known, Found: info.Identity})
	}
	var before string
	err = tx.QueryRowContext(ctx, `SELECT location FROM sinks WHERE identity = ?`, info.Identity).Scan(&before)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil || before == "" || before == info.Location {
		return err
	}
	if identity, ok := look(before); ok && identity == info.Identity {
		return fault.New(fault.Config, "", hintCopy(before, info.Location), &MovedError{Location: info.Location, Other: before, Found: info.Identity})
	}
	return nil
}

// SinkAt returns the sink that is known at a place, ok false if none is. Asked before a sink is opened, it tells whether a folder
// that looks new should hold a sink ("mounted?").
func (l *Ledger) SinkAt(ctx context.Context, location string) (info SinkInfo, ok bool, err error) {
	all, err := l.sinks(ctx, `WHERE location <> '' AND location = ?`, location)
	if err != nil || len(all) == 0 {
		return SinkInfo{}, false, err
	}
	return all[0], true, nil
}

// Sinks lists every sink that is known, by pipeline and name; of those with one name, which have had other targets, the one that was
// registered last is the first.
func (l *Ledger) Sinks(ctx context.Context) ([]SinkInfo, error) {
	return l.sinks(ctx, `ORDER BY pipeline, name, registered_ms DESC, identity`)
}

func (l *Ledger) sinks(ctx context.Context, clause string, args ...any) ([]SinkInfo, error) {
	var all []SinkInfo
	err := l.query(ctx, "list sinks", func(rows *sql.Rows) error {
		var s SinkInfo
		if err := rows.Scan(&s.Identity, &s.Pipeline, &s.Name, &s.Type, &s.Location, &s.Memory); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	}, `SELECT identity, pipeline, name, type, location, memory FROM sinks `+clause, args...)
	return all, err
}

// Reset forgets all of one sink: its slices, its place and the sink itself. It is how a rebuild begins; the sink is registered
// anew afterwards.
func (l *Ledger) Reset(ctx context.Context, sink string) error {
	err := l.write(ctx, "reset sink "+sink, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM meta WHERE key = ?`, acceptedKey+sink); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM sinks WHERE identity = ?`, sink) // its rows go with it
		return err
	})
	l.ids.forget()
	l.coverage.dropSink(sink)
	return err
}

// Partitions lists the partitions of which a sink has rows, in the order of stream and key.
func (l *Ledger) Partitions(ctx context.Context, sink string) ([]flow.Partition, error) {
	sinkID, ok, err := l.sinkID(ctx, l.reader, sink)
	if err != nil || !ok {
		return nil, err
	}
	var all []flow.Partition
	err = l.query(ctx, "list partitions", func(rows *sql.Rows) error {
		var p flow.Partition
		var selection string
		if err := rows.Scan(&selection, &p.Stream, &p.Key); err != nil {
			return err
		}
		if err := p.Selection.UnmarshalText([]byte(selection)); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		all = append(all, p)
		return nil
	}, `SELECT selection, stream, partition FROM partitions p
		WHERE EXISTS (SELECT 1 FROM slices WHERE sink_id = ?1 AND partition_id = p.id AND state = 'committed' AND rev = 0)
		OR EXISTS (SELECT 1 FROM slices WHERE sink_id = ?1 AND partition_id = p.id AND `+isCut+`)
		ORDER BY stream, partition, selection`, sinkID)
	return all, err
}
