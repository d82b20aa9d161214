package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

const numberKey = "number:"

// Number returns a figure that was kept under a name, 0 if none was.
func (l *Ledger) Number(ctx context.Context, name string) (float64, error) {
	var text string
	err := l.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, numberKey+name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, explain(l.path, err))
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w: %w", name, ErrCorrupt, err)
	}
	return n, nil
}

// SetNumber keeps a figure under a name: what was learnt and is only of use, so that losing it costs nothing but learning it again.
func (l *Ledger) SetNumber(ctx context.Context, name string, n float64) error {
	return l.write(ctx, "keep "+name, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
			numberKey+name, strconv.FormatFloat(n, 'g', -1, 64))
		return err
	})
}
