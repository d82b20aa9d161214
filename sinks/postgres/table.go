package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-io/sluice/proto/fault"
)

// ensureTable makes the table or adds what the stream has gained, and refuses one whose columns have other types. It holds the lock
// on making tables only if something is missing.
func (s settings) ensureTable(ctx context.Context, tx pgx.Tx, table pgx.Identifier, columns []column) error {
	for locked := false; ; locked = true {
		have, err := columnsIn(ctx, tx, table)
		if err != nil {
			return err
		}
		sql, err := grow(table, have, columns)
		if err != nil || sql == "" {
			return err
		}
		if !s.CreateTable {
			return missing(table, sql)
		}
		if !locked { // and look again
			if _, err := tx.Exec(ctx, takeLock, int64(ddlLock)); err != nil {
				return err
			}
			continue
		}
		if len(have) == 0 {
			if err := createSchema(ctx, tx, table[0]); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make the table %s: %w", table.Sanitize(), err)
		}
		return nil
	}
}

// columnsIn returns a table's columns with their types; none if it isn't there.
func columnsIn(ctx context.Context, tx pgx.Tx, table pgx.Identifier) (map[string]string, error) {
	rows, err := tx.Query(ctx, `select a.attname::text, pg_catalog.format_type(a.atttypid, null)
		from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped`, table[0], table[1])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	have := map[string]string{}
	for rows.Next() {
		var name, typ string
		if err := rows.Scan(&name, &typ); err != nil {
			return nil, err
		}
		have[name] = typ
	}
	return have, rows.Err()
}

// grow returns the SQL that gives a table the columns it lacks; empty if it has all.
func grow(table pgx.Identifier, have map[string]string, columns []column) (string, error) {
	var lacks []string
	for _, c := range columns {
		typ, there := have[c.name]
		definition := pgx.Identifier{c.name}.Sanitize() + " " + c.typ
		switch {
		case !there && len(have) > 0:
			lacks = append(lacks, "add column "+definition)
		case !there:
			lacks = append(lacks, definition)
		case !c.takes(typ):
			return "", fault.Errorf(fault.Config, "look at the table", "column %s of %s is %s, and the stream's %s needs %s",
				pgx.Identifier{c.name}.Sanitize(), table.Sanitize(), typ, c.arrow, c.typ).WithHint("give the stream another `table`, or change the column's type")
		}
	}
	switch {
	case len(lacks) == 0:
		return "", nil
	case len(have) == 0:
		return "create table " + table.Sanitize() + " (\n\t" + strings.Join(lacks, ",\n\t") + "\n)", nil
	}
	return "alter table " + table.Sanitize() + " " + strings.Join(lacks, ", "), nil
}

// copySQL is the statement that a batch goes in by.
func copySQL(table pgx.Identifier, columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = pgx.Identifier{c.name}.Sanitize()
	}
	return "copy " + table.Sanitize() + " (" + strings.Join(names, ", ") + ") from stdin (format binary)"
}
