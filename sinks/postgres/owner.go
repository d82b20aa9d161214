package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Names of the sink's own tables.
const (
	commitsTable = "sluice_commits"
	sinksTable   = "sluice_sinks"
)

// ownTables returns the SQL of the sink's own tables, by name.
func ownTables(schema string) map[string]string {
	name := func(table string) string { return pgx.Identifier{schema, table}.Sanitize() }
	return map[string]string{
		sinksTable: `create table ` + name(sinksTable) + ` (
	target text collate "C" primary key,
	id text not null unique,
	streams jsonb not null,
	pipeline text not null,
	sink text not null,
	at timestamptz not null default now()
)`,
		commitsTable: `create table ` + name(commitsTable) + ` (
	sink text collate "C" not null,
	selection text collate "C" not null,
	stream text collate "C" not null,
	partition text collate "C" not null,
	day date not null,
	number bigint not null check (number > 0),
	kind text not null,
	slice text,
	range_from timestamptz,
	range_to timestamptz,
	target text not null,
	rows bigint,
	entry jsonb not null,
	primary key (sink, selection, stream, partition, day, number)
)`,
	}
}

// ddlLock is the advisory lock under which tables are made: the server's own CREATE IF NOT EXISTS fails when two meet.
const ddlLock = 0x736c75696365

// ensureOwn makes the sink's own tables if they aren't there. It needs no right to create if they are.
func (s settings) ensureOwn(ctx context.Context, tx pgx.Tx) error {
	for _, name := range slices.Sorted(maps.Keys(ownTables(s.CommitSchema))) {
		there, err := exists(ctx, tx, pgx.Identifier{s.CommitSchema, name})
		if err != nil {
			return err
		}
		if there {
			continue
		}
		sql := ownTables(s.CommitSchema)[name]
		if !s.CreateTable {
			return missing(pgx.Identifier{s.CommitSchema, name}, sql)
		}
		if err := createSchema(ctx, tx, s.CommitSchema); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}

func exists(ctx context.Context, tx pgx.Tx, table pgx.Identifier) (bool, error) {
	var there bool
	err := tx.QueryRow(ctx, `select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2)`, table[0], table[1]).Scan(&there)
	return there, err
}

func createSchema(ctx context.Context, tx pgx.Tx, name string) error {
	var there bool
	if err := tx.QueryRow(ctx, `select exists (select from pg_catalog.pg_namespace where nspname = $1)`, name).Scan(&there); err != nil || there {
		return err
	}
	if _, err := tx.Exec(ctx, `create schema `+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create schema %s: %w", name, err)
	}
	return nil
}

func missing(table pgx.Identifier, sql string) error {
	return fault.Errorf(fault.Config, "open the postgres sink", "%s isn't there and create_table is false. Its SQL:\n%s", table.Sanitize(), sql).
		WithHint("run this SQL, or set create_table: true")
}

// own reads the owner's row of the target, or makes it, and adds new streams. It returns the sink's ID.
func (s settings) own(ctx context.Context, tx pgx.Tx, c sinks.Config) (id string, err error) {
	place, err := s.table.place(c)
	if err != nil {
		return "", fault.New(fault.Config, "name the table", "", err)
	}
	table := pgx.Identifier{s.CommitSchema, sinksTable}.Sanitize()
	want := map[string]flow.SelectionID{}
	for _, st := range c.Streams {
		want[st.Name] = st.Selection
	}
	var text, pipeline string
	err = tx.QueryRow(ctx, `select id, streams::text, pipeline from `+table+` where target = $1`, place).Scan(&id, &text, &pipeline)
	if errors.Is(err, pgx.ErrNoRows) {
		var b [16]byte
		_, _ = rand.Read(b[:])
		id = hex.EncodeToString(b[:])
		streams, err := json.Marshal(want)
		if err != nil {
			return "", err
		}
		_, err = tx.Exec(ctx, `insert into `+table+` (target, id, streams, pipeline, sink) values ($1, $2, $3::text::jsonb, $4, $5)`, place, id, string(streams), c.Pipeline, c.Name)
		return id, err
	}
	if err != nil {
		return "", err
	}
	have := map[string]flow.SelectionID{}
	if err := json.Unmarshal([]byte(text), &have); err != nil {
		return "", fault.New(fault.Config, "read "+table, "was it changed by hand?", err)
	}
	grown := false
	for name, selection := range want {
		first, known := have[name]
		if known && first != selection {
			return "", fault.New(fault.Config, "open the postgres sink", "give this pipeline another `table` (--new-selection is for folders and buckets: tables hold one)",
				fmt.Errorf("%w: the table %s belongs to pipeline %q, which writes stream %s with selection %s, not %s: source, account, query or fields differ",
					sinks.ErrOwned, place, pipeline, name, first.Short(), selection.Short()))
		}
		have[name] = selection
		grown = grown || !known
	}
	if !grown {
		return id, nil
	}
	streams, err := json.Marshal(have)
	if err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `update `+table+` set streams = $2::text::jsonb where target = $1`, place, string(streams))
	return id, err
}

// system returns the cluster's identifier, which initdb makes; empty for a role that may not ask.
func system(ctx context.Context, c *pgx.Conn) (string, error) {
	var id int64
	err := c.QueryRow(ctx, `select system_identifier from pg_catalog.pg_control_system()`).Scan(&id)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" {
		return "", nil
	}
	return fmt.Sprintf("%016x-", uint64(id)), err
}
