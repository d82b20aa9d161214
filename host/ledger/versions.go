package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Versions is what a pipeline ran by.
type Versions struct {
	Sluice                string
	Source, SourceVersion string
	Since                 time.Time
}

// RecordVersions writes down what a pipeline that starts runs by, unless its last start said the same. Since is ignored.
func (l *Ledger) RecordVersions(ctx context.Context, pipeline string, v Versions) error {
	last, err := l.lastVersions(ctx, pipeline)
	if err != nil || last.Sluice == v.Sluice && last.Source == v.Source && last.SourceVersion == v.SourceVersion {
		return err
	}
	return l.write(ctx, "record versions", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO versions (pipeline, at_ms, sluice, source, source_version) VALUES (?, ?, ?, ?, ?)`,
			pipeline, l.now().UnixMilli(), v.Sluice, v.Source, v.SourceVersion)
		return err
	})
}

func (l *Ledger) lastVersions(ctx context.Context, pipeline string) (v Versions, err error) {
	err = l.reader.QueryRowContext(ctx, `SELECT sluice, source, source_version FROM versions WHERE pipeline = ? ORDER BY at_ms DESC LIMIT 1`,
		pipeline).Scan(&v.Sluice, &v.Source, &v.SourceVersion)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return v, fmt.Errorf("versions: %w", explain(l.path, err))
	}
	return v, nil
}

// Versions returns by what a pipeline ran, the earliest first: each holds until the next.
func (l *Ledger) Versions(ctx context.Context, pipeline string) ([]Versions, error) {
	var all []Versions
	err := l.query(ctx, "list versions", func(rows *sql.Rows) error {
		var v Versions
		var at int64
		err := rows.Scan(&v.Sluice, &v.Source, &v.SourceVersion, &at)
		v.Since = timeOf(at)
		all = append(all, v)
		return err
	}, `SELECT sluice, source, source_version, at_ms FROM versions WHERE pipeline = ? ORDER BY at_ms`, pipeline)
	return all, err
}

// Latest is the latest stamp of what the ledger holds of slices, of what the vendor no longer has or says, of runs and of what they ask for;
// zero for an empty ledger. The ledger as it is at a Latest stays what it is until a later one.
func (l *Ledger) Latest(ctx context.Context) (time.Time, error) {
	var ms sql.NullInt64
	err := l.reader.QueryRowContext(ctx, `SELECT max(at) FROM (SELECT max(at_ms) AS at FROM slices UNION ALL SELECT max(at_ms) FROM forgets
		UNION ALL SELECT max(at_ms) FROM given_up UNION ALL SELECT max(at_ms) FROM unavailable UNION ALL SELECT max(end_ms) FROM runs
		UNION ALL SELECT max(at_ms) FROM measures UNION ALL SELECT max(at_ms) FROM versions
		UNION ALL SELECT max(at_ms) FROM asked UNION ALL SELECT max(at_ms) FROM rechecks)`).Scan(&ms)
	if err != nil {
		return time.Time{}, fmt.Errorf("latest stamp: %w", explain(l.path, err))
	}
	if !ms.Valid {
		return time.Time{}, nil
	}
	return timeOf(ms.Int64), nil
}
