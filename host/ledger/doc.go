// Package ledger is the durable account of one state folder: which slices were planned, begun, committed, split, failed or
// quarantined, per sink, and what the vendor no longer has.
//
// It is a SQLite database (STATE/ledger.db, write-ahead log, every transaction on disk before it is acknowledged) with a schema
// that people can query while a host runs; docs/ledger.md describes it. For sinks that remember what they hold the ledger only
// follows: it can be deleted and rebuilt from them. For the others it is the truth.
//
// What it deliberately does not do: it plans nothing, retries nothing and asks no sink.
//
//	l, err := ledger.Open(ctx, "state", ledger.Options{Version: "v0.1.0"})
//	if errors.Is(err, ledger.ErrLocked) { ... another run holds this state: exit code 4 ... }
//	covered, err := l.Coverage(ctx, sink.Identity(), partition)
//	missing := flow.NewRanges(asked).Minus(covered)
//
// # Invariants
//
//   - Sink first, ledger second: Record is called with a receipt, never before there is one.
//   - A cut is durable (Plan, Begin, Split) before its read opens: it runs again whole until it is committed, split or given up.
//   - Coverage is the union of committed ranges of revision 0, whatever slices they were committed in.
//   - One process writes: it holds STATE/lock. Readers need no lock.
package ledger
