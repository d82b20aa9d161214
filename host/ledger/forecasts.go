package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Forecast is what a run was expected to take when it began. Times are kept in whole milliseconds.
type Forecast struct {
	Pipeline string
	At       time.Time // when the run began
	flow.Range
	Slices, Requests, Bytes uint64
	Finish                  time.Time       // zero: not known
	Detail                  json.RawMessage // one JSON object; nil is kept as {}
}

// keptForecasts is how many forecasts of a pipeline are kept.
const keptForecasts = 1000

// RecordForecast writes down what a run is expected to take; one of the same begin is replaced.
func (l *Ledger) RecordForecast(ctx context.Context, f Forecast) error {
	if f.Detail == nil {
		f.Detail = json.RawMessage("{}")
	}
	finish := int64(0)
	if !f.Finish.IsZero() {
		finish = f.Finish.UnixMilli()
	}
	return l.write(ctx, "record forecast", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO forecasts (pipeline, at_ms, from_ms, to_ms, slices, requests, bytes, finish_ms, detail)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET from_ms = excluded.from_ms, to_ms = excluded.to_ms,
			slices = excluded.slices, requests = excluded.requests, bytes = excluded.bytes, finish_ms = excluded.finish_ms,
			detail = excluded.detail`,
			f.Pipeline, f.At.UnixMilli(), f.From.UnixMilli(), f.To.UnixMilli(), int64(f.Slices), int64(f.Requests), int64(f.Bytes), finish,
			string(f.Detail))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM forecasts WHERE pipeline = ?1 AND at_ms IN
			(SELECT at_ms FROM forecasts WHERE pipeline = ?1 ORDER BY at_ms DESC LIMIT -1 OFFSET ?2)`, f.Pipeline, keptForecasts)
		return err
	})
}

// Forecasts returns the last n forecasts of a pipeline, the most recent first.
func (l *Ledger) Forecasts(ctx context.Context, pipeline string, n int) ([]Forecast, error) {
	var all []Forecast
	err := l.query(ctx, "list forecasts", func(rows *sql.Rows) error {
		f := Forecast{Pipeline: pipeline}
		var at, from, to, slices, requests, bytes, finish int64
		var detail string
		if err := rows.Scan(&at, &from, &to, &slices, &requests, &bytes, &finish, &detail); err != nil {
			return err
		}
		f.At, f.From, f.To, f.Detail = timeOf(at), timeOf(from), timeOf(to), json.RawMessage(detail)
		f.Slices, f.Requests, f.Bytes = uint64(slices), uint64(requests), uint64(bytes)
		if finish > 0 {
			f.Finish = timeOf(finish)
		}
		all = append(all, f)
		return nil
	}, `SELECT at_ms, from_ms, to_ms, slices, requests, bytes, finish_ms, detail FROM forecasts WHERE pipeline = ?
		ORDER BY at_ms DESC LIMIT ?`, pipeline, n)
	return all, err
}

// BudgetCharge is what a reservation counts against a budget still, for a look from outside of the host that keeps the count.
type BudgetCharge struct {
	Requests, Bytes uint64
	Until           time.Duration // from now on; a window's length if that isn't known
}

// BudgetCharges returns what counts still against a key's namespace, by the clock of the boot. It is a look: only the host's own count
// decides.
func (l *Ledger) BudgetCharges(ctx context.Context, key, namespace, boot string, now time.Duration) ([]BudgetCharge, error) {
	var all []BudgetCharge
	err := l.query(ctx, "list reservations", func(rows *sql.Rows) error {
		var requests, bytes, window int64
		var of string
		var ended sql.NullInt64
		if err := rows.Scan(&requests, &bytes, &window, &of, &ended); err != nil {
			return err
		}
		c := BudgetCharge{uint64(requests), uint64(bytes), time.Duration(window)}
		if of == boot && ended.Valid {
			if c.Until += time.Duration(ended.Int64) - now; c.Until <= 0 {
				return nil
			}
		}
		all = append(all, c)
		return nil
	}, `SELECT requests, bytes, window_ns, boot, ended_ns FROM budget_reservations WHERE key = ? AND namespace = ?`, key, namespace)
	return all, err
}
