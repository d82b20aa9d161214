-- Stamps (_ns) are nanoseconds of the boot's own clock (CLOCK_BOOTTIME) and mean nothing in another boot;
-- vendor_ms is the vendor's clock, 0 where it isn't known.
CREATE TABLE budget_namespaces (
  key                TEXT    NOT NULL,
  namespace          TEXT    NOT NULL,
  boot               TEXT    NOT NULL,
  window_ns          INTEGER NOT NULL,
  allowed_requests   INTEGER NOT NULL,
  allowed_bytes      INTEGER NOT NULL,
  blocked_ns         INTEGER NOT NULL DEFAULT 0,
  limit_requests     INTEGER,
  limit_bytes        INTEGER,
  limit_until_ns     INTEGER NOT NULL DEFAULT 0,
  remaining_requests INTEGER,
  remaining_bytes    INTEGER,
  reset_ns           INTEGER NOT NULL DEFAULT 0,
  at_ns              INTEGER NOT NULL DEFAULT 0,
  vendor_ms          INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (key, namespace)
) WITHOUT ROWID;

-- headers_ns: from when on the requests' window runs; ended_ns: the same for the bytes. NULL: still open.
CREATE TABLE budget_reservations (
  id         TEXT    PRIMARY KEY,
  key        TEXT    NOT NULL,
  namespace  TEXT    NOT NULL,
  owner      TEXT    NOT NULL,
  requests   INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  window_ns  INTEGER NOT NULL,
  boot       TEXT    NOT NULL,
  started_ns INTEGER NOT NULL,
  headers_ns INTEGER,
  ended_ns   INTEGER,
  vendor_ms  INTEGER NOT NULL DEFAULT 0,
  carried    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE VIEW v_budget AS
SELECT n.key, n.namespace, n.window_ns / 1e9 AS window_seconds, n.allowed_requests, n.allowed_bytes,
       coalesce(sum(r.requests), 0) AS counted_requests, coalesce(sum(r.bytes), 0) AS counted_bytes,
       coalesce(sum(r.id IS NOT NULL AND r.ended_ns IS NULL), 0) AS open_reservations
FROM budget_namespaces n LEFT JOIN budget_reservations r ON r.key = n.key AND r.namespace = n.namespace
GROUP BY n.key, n.namespace;
