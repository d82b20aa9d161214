package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// SeenName is the file in the state folder that names the sinks without a memory that this state has written to. It lies beside the
// ledger so that a ledger which was lost or emptied can be told from a sink that is new.
const SeenName = "sinks.json"

// SeenSink is what the file of seen sinks holds of one.
type SeenSink struct {
	Pipeline string    `json:"pipeline"`
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Since    time.Time `json:"since"`
}

const acceptedKey = "accepted:"

// Accepted returns from when on a sink without a memory may be sent what the ledger lacks, the zero time for all; ok is false if
// nobody has said yet that it may be sent anything.
func (l *Ledger) Accepted(ctx context.Context, sink string) (from time.Time, ok bool, err error) {
	var text string
	err = l.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, acceptedKey+sink).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("accepted sink: %w", explain(l.path, err))
	}
	if text == "" {
		return time.Time{}, true, nil
	}
	from, err = time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return from, false, fmt.Errorf("accepted sink: %w: %w", ErrCorrupt, err)
	}
	return from, true, nil
}

// Accept writes down, in the ledger and beside it, that a sink without a memory may be sent what the ledger lacks from a time on,
// the zero time for all.
func (l *Ledger) Accept(ctx context.Context, info SinkInfo, from time.Time) error {
	seen, err := l.seen()
	if err != nil {
		return err
	}
	if _, ok := seen[info.Identity]; !ok {
		if seen == nil {
			seen = map[string]SeenSink{}
		}
		seen[info.Identity] = SeenSink{info.Pipeline, info.Name, info.Type, l.now().UTC().Truncate(time.Second)}
		if err := l.writeSeen(seen); err != nil {
			return fmt.Errorf("accept sink %s: %w", info.Name, err)
		}
	}
	text := ""
	if !from.IsZero() {
		text = from.UTC().Format(time.RFC3339Nano)
	}
	return l.write(ctx, "accept sink "+info.Name, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
			acceptedKey+info.Identity, text)
		return err
	})
}

// Seen returns what is known beside the ledger of a sink that this state has written to before.
func (l *Ledger) Seen(sink string) (SeenSink, bool, error) {
	all, err := l.seen()
	s, ok := all[sink]
	return s, ok, err
}

func (l *Ledger) seenPath() string { return filepath.Join(filepath.Dir(l.path), SeenName) }

func (l *Ledger) seen() (map[string]SeenSink, error) {
	text, err := os.ReadFile(l.seenPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("seen sinks: %w", err)
	}
	var all map[string]SeenSink
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", l.seenPath(), err)
	}
	return all, nil
}

// writeSeen replaces the file in one step.
func (l *Ledger) writeSeen(all map[string]SeenSink) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	part := l.seenPath() + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, l.seenPath())
}
