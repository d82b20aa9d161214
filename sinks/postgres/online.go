package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

// online proves that a pipeline could write: it logs in and does in one transaction all that the first slice would, with no row, and
// rolls it back.
func online(ctx context.Context, c sinks.Config) (string, error) {
	const op = "check the postgres sink"
	s, err := parse(c)
	if err != nil {
		return "", err
	}
	pc, err := s.poolConfig()
	if err != nil {
		return "", err
	}
	conn, err := pgx.ConnectConfig(ctx, pc.ConnConfig)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.where(), classify(op, err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var said string
	if err = s.prepare(ctx, conn); err == nil {
		said, err = s.try(ctx, conn, c)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.where(), classify(op, err))
	}
	return said, nil
}

func (s settings) try(ctx context.Context, conn *pgx.Conn, c sinks.Config) (string, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// A table that is in use may be locked: say so soon rather than stand in a queue before the pipeline that runs.
	if _, err := tx.Exec(ctx, `set local lock_timeout = '5s'`); err != nil {
		return "", err
	}
	if err := s.ensureOwn(ctx, tx); err != nil {
		return "", err
	}
	if _, err := s.own(ctx, tx, c); err != nil {
		return "", err
	}
	commits := pgx.Identifier{s.CommitSchema, commitsTable}.Sanitize()
	for _, sql := range []string{`select count(*) from ` + commits + ` where false`, `insert into ` + commits + ` select * from ` + commits + ` where false`} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("%s: %w", commits, err)
		}
	}
	var version string
	if err := tx.QueryRow(ctx, `select current_setting('server_version')`).Scan(&version); err != nil {
		return "", err
	}
	if !s.table.fixed() {
		return fmt.Sprintf("logged in to %s (PostgreSQL %s) as %s, which may write its commits; %s is looked at with the first slice; nothing was changed",
			s.where(), version, s.User, s.table.whole), nil
	}
	var names []string
	for _, st := range c.Streams {
		name, err := s.tryTable(ctx, tx, c, st)
		if err != nil {
			return "", err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprintf("logged in to %s (PostgreSQL %s) as %s, which may copy into %s and write its commits; all in a transaction that was rolled back",
		s.where(), version, s.User, strings.Join(names, ", ")), nil
}

func (s settings) tryTable(ctx context.Context, tx pgx.Tx, c sinks.Config, st sinks.Stream) (string, error) {
	table, err := s.table.of(target.Values{Pipeline: c.Pipeline, Source: c.Source, Stream: st.Name, PartitionBy: st.PartitionBy, Labels: c.Labels})
	if err != nil {
		return "", err
	}
	columns, err := columnsOf(st.Schema)
	if err != nil {
		return "", err
	}
	if err := s.ensureTable(ctx, tx, table, columns); err != nil {
		return "", err
	}
	empty := strings.NewReader(string(copyHeader) + string(copyEnd))
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, empty, copySQL(table, columns)); err != nil {
		return "", fmt.Errorf("%s: %w", table.Sanitize(), err)
	}
	return table.Sanitize(), nil
}
