package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
)

// visit learns who the sink is without making or changing anything; sinks.ErrAbsent if nothing was ever written to it.
func (k *Sink) visit(ctx context.Context) error {
	place, err := k.set.table.place(k.config)
	if err != nil {
		return fault.New(fault.Config, "name the table", "", err)
	}
	var id, cluster string
	err = pgx.BeginTxFunc(ctx, k.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for _, name := range []string{sinksTable, commitsTable} {
			if there, err := exists(ctx, tx, pgx.Identifier{k.set.CommitSchema, name}); err != nil || !there {
				return errors.Join(err, fmt.Errorf("table %s: %w", pgx.Identifier{k.set.CommitSchema, name}.Sanitize(), sinks.ErrAbsent))
			}
		}
		err := tx.QueryRow(ctx, `select id from `+pgx.Identifier{k.set.CommitSchema, sinksTable}.Sanitize()+` where target = $1`, place).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("nothing was written to %s: %w", place, sinks.ErrAbsent)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = k.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		cluster, err = system(ctx, c.Conn())
		return err
	})
	k.known(cluster, id)
	return err
}
