package budget

import (
	"context"
	"database/sql"
	"time"
)

// store writes changed reservations and the vendor's view in one transaction, drops what counts no more, and then, and only then,
// makes all that the state in memory. The transaction isn't stopped by ctx: whether it took place would not be known.
func (m *Manager) store(ctx context.Context, s *space, now time.Duration, v view, changed ...*reservation) error {
	if now >= v.reset {
		v.remainingRequests, v.remainingBytes = nil, nil
	}
	if now >= v.limitUntil {
		v.limitRequests, v.limitBytes = nil, nil
	}
	shown := s.applies(now)
	var over []string
	for id, r := range s.reservations {
		if r.over(now, s.longest()) {
			over = append(over, id)
		}
	}
	err := m.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, id := range over {
			if _, err := tx.ExecContext(ctx, `DELETE FROM budget_reservations WHERE id = ?`, id); err != nil {
				return err
			}
		}
		for _, r := range changed {
			if err := m.put(ctx, tx, s, r); err != nil {
				return err
			}
		}
		if same(v, s.view) && shown == s.shown && !s.moved {
			return nil
		}
		return m.putView(ctx, tx, s, v, shown)
	})
	if err != nil {
		return err
	}
	for _, id := range over {
		delete(s.reservations, id)
	}
	for _, r := range changed {
		s.reservations[r.id] = r
	}
	s.view, s.shown, s.moved = v, shown, false
	return nil
}

func (m *Manager) write(ctx context.Context, f func(ctx context.Context, tx *sql.Tx) error) error {
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx = context.WithoutCancel(ctx)
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	if err := f(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (m *Manager) put(ctx context.Context, tx *sql.Tx, s *space, r *reservation) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO budget_reservations
		(id, key, namespace, owner, requests, bytes, window_ns, boot, started_ns, headers_ns, ended_ns, vendor_ms, carried)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET requests = excluded.requests, bytes = excluded.bytes, window_ns = excluded.window_ns,
		boot = excluded.boot, started_ns = excluded.started_ns, headers_ns = excluded.headers_ns, ended_ns = excluded.ended_ns,
		vendor_ms = excluded.vendor_ms, carried = excluded.carried`,
		r.id, s.key, s.namespace, r.owner, int64(r.requests), int64(r.bytes), int64(r.window), m.boot, int64(r.started),
		nullable(r.headers), nullable(r.ended), r.vendorMillis, r.carried)
	return err
}

func (m *Manager) putView(ctx context.Context, tx *sql.Tx, s *space, v view, shown limits) error {
	_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO budget_namespaces
		(key, namespace, boot, window_ns, allowed_requests, allowed_bytes, blocked_ns, limit_requests, limit_bytes, limit_until_ns,
		remaining_requests, remaining_bytes, reset_ns, at_ns, vendor_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		s.key, s.namespace, m.boot, int64(shown.window), int64(shown.requests), int64(shown.bytes), int64(v.blocked),
		nullableCount(v.limitRequests), nullableCount(v.limitBytes), int64(v.limitUntil),
		nullableCount(v.remainingRequests), nullableCount(v.remainingBytes), int64(v.reset), int64(v.at), v.vendorMillis)
	return err
}

// load reads what counts still. What a process left open has ended by now, whatever it did; what is of another boot counts from now,
// until the vendor's clock tells better. Both are stored at once, so that another restart doesn't begin anew.
func (m *Manager) load(ctx context.Context) error {
	now := m.clock.Now()
	if err := m.loadViews(ctx, now); err != nil {
		return err
	}
	rows, err := m.db.QueryContext(ctx, `SELECT id, key, namespace, owner, requests, bytes, window_ns, boot, started_ns, headers_ns,
		ended_ns, vendor_ms, carried FROM budget_reservations`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	changed := map[*space][]*reservation{}
	for rows.Next() {
		var r reservation
		var key, namespace, boot string
		var requests, bytes, window, started int64
		var headers, ended sql.NullInt64
		err := rows.Scan(&r.id, &key, &namespace, &r.owner, &requests, &bytes, &window, &boot, &started, &headers, &ended,
			&r.vendorMillis, &r.carried)
		if err != nil {
			return err
		}
		r.requests, r.bytes, r.window, r.started = uint64(requests), uint64(bytes), time.Duration(window), time.Duration(started)
		open := !headers.Valid || !ended.Valid
		if boot == m.boot {
			// A stamp of the future is none of this clock's: it counts from now.
			r.headers, r.ended = stamp(headers, now), stamp(ended, now)
		} else {
			r.carried, r.started = true, now
		}
		s := m.space(key, namespace)
		if open || boot != m.boot {
			r.end(now) // what was open has no Date of its end, so it counts from now whatever the vendor's clock says
			changed[s] = append(changed[s], &r)
		}
		s.reservations[r.id] = &r
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := rows.Close(); err != nil { // the connection is needed for what follows
		return err
	}
	for _, s := range m.spaces {
		if err := m.store(ctx, s, now, s.view, changed[s]...); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) loadViews(ctx context.Context, now time.Duration) error {
	rows, err := m.db.QueryContext(ctx, `SELECT key, namespace, boot, window_ns, allowed_requests, allowed_bytes, blocked_ns,
		limit_requests, limit_bytes, limit_until_ns, remaining_requests, remaining_bytes, reset_ns, at_ns, vendor_ms
		FROM budget_namespaces`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key, namespace, boot string
		var window, requests, bytes, blocked, limitUntil, reset, at, vendor int64
		var limitRequests, limitBytes, remainingRequests, remainingBytes sql.NullInt64
		err := rows.Scan(&key, &namespace, &boot, &window, &requests, &bytes, &blocked, &limitRequests, &limitBytes, &limitUntil,
			&remainingRequests, &remainingBytes, &reset, &at, &vendor)
		if err != nil {
			return err
		}
		s := m.space(key, namespace)
		s.shown = limits{requests: uint64(requests), bytes: uint64(bytes), window: time.Duration(window)}
		s.view = view{
			blocked: time.Duration(blocked), limitRequests: count(limitRequests), limitBytes: count(limitBytes),
			limitUntil: time.Duration(limitUntil), remainingRequests: count(remainingRequests), remainingBytes: count(remainingBytes),
			reset: time.Duration(reset), at: time.Duration(at), vendorMillis: vendor,
		}
		if boot != m.boot || s.view.at > now {
			// What was left of it when it was said is left from now on.
			v := &s.view
			shift := now - v.at
			v.at, v.blocked, v.limitUntil, v.reset, v.carried = now, v.blocked+shift, v.limitUntil+shift, v.reset+shift, true
			s.moved = true
		}
	}
	return rows.Err()
}

func same(a, b view) bool {
	equal := func(x, y *uint64) bool { return x == y || x != nil && y != nil && *x == *y }
	return a.blocked == b.blocked && a.limitUntil == b.limitUntil && a.reset == b.reset && a.at == b.at &&
		a.vendorMillis == b.vendorMillis && equal(a.limitRequests, b.limitRequests) && equal(a.limitBytes, b.limitBytes) &&
		equal(a.remainingRequests, b.remainingRequests) && equal(a.remainingBytes, b.remainingBytes)
}

func nullable(d *time.Duration) any {
	if d == nil {
		return nil
	}
	return int64(*d)
}

func nullableCount(n *uint64) any {
	if n == nil {
		return nil
	}
	return int64(add(*n, 0))
}

func count(n sql.NullInt64) *uint64 {
	if !n.Valid {
		return nil
	}
	v := uint64(n.Int64)
	return &v
}

func stamp(n sql.NullInt64, now time.Duration) *time.Duration {
	if !n.Valid {
		return nil
	}
	d := min(time.Duration(n.Int64), now)
	return &d
}
