CREATE INDEX runs_pipeline ON runs (pipeline, start_ms);
CREATE UNIQUE INDEX sinks_location ON sinks (location) WHERE location <> '';
CREATE INDEX slices_coverage ON slices (sink_id, partition_id, from_ms, to_ms) WHERE state = 'committed' AND rev = 0;
CREATE INDEX slices_cuts ON slices (sink_id, partition_id, from_ms, to_ms)
  WHERE state IN ('planned', 'reading', 'failed', 'quarantined');
CREATE UNIQUE INDEX slices_entry ON slices (sink_id, partition_id, from_ms / 86400000, entry) WHERE state = 'committed' AND entry > 0;
CREATE INDEX slices_weight ON slices (partition_id, at_ms) WHERE state IN ('committed', 'split');
CREATE TABLE asked (
  pipeline     TEXT    NOT NULL,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  name         TEXT    NOT NULL,
  settle_ms    INTEGER NOT NULL,
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (pipeline, partition_id)
) WITHOUT ROWID;
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
CREATE TABLE forecasts (
  pipeline  TEXT    NOT NULL,
  at_ms     INTEGER NOT NULL,
  from_ms   INTEGER NOT NULL,
  to_ms     INTEGER NOT NULL,
  slices    INTEGER NOT NULL,
  requests  INTEGER NOT NULL,
  bytes     INTEGER NOT NULL,
  finish_ms INTEGER NOT NULL, -- when it was expected to end; 0: not known
  detail    TEXT    NOT NULL, -- JSON: by partition
  PRIMARY KEY (pipeline, at_ms)
) WITHOUT ROWID;
CREATE TABLE forgets (
  sink_id      INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  day_ms       INTEGER NOT NULL,
  entry        INTEGER NOT NULL,
  slice        TEXT    NOT NULL,
  entries      TEXT    NOT NULL,
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (sink_id, partition_id, day_ms, entry)
) WITHOUT ROWID;
CREATE TABLE given_up (
  sink_id      INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  slice        TEXT    NOT NULL,
  from_ms      INTEGER NOT NULL,
  to_ms        INTEGER NOT NULL,
  rev          INTEGER NOT NULL,
  why          TEXT    NOT NULL,
  at_ms        INTEGER NOT NULL
);
CREATE TABLE measures (
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  from_ms      INTEGER NOT NULL,
  to_ms        INTEGER NOT NULL,
  rows         INTEGER,
  bytes        INTEGER,
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (partition_id, from_ms, to_ms, at_ms),
  CHECK (from_ms < to_ms)
) WITHOUT ROWID;
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE partitions (
  id        INTEGER PRIMARY KEY,
  selection TEXT NOT NULL,
  stream    TEXT NOT NULL,
  partition TEXT NOT NULL,
  UNIQUE (selection, stream, partition)
);
CREATE TABLE rechecks (
  sink_id      INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  from_ms      INTEGER NOT NULL,
  to_ms        INTEGER NOT NULL,
  age_ms       INTEGER NOT NULL,
  outcome      TEXT    NOT NULL CHECK (outcome IN ('first', 'planned', 'unmoved', 'nothing', 'found', 'refused', 'unavailable')),
  rev          INTEGER NOT NULL, -- of the slice that what is found becomes; 0: none
  rows         INTEGER NOT NULL, -- found late
  bytes        INTEGER NOT NULL,
  gone_rows    INTEGER NOT NULL, -- that the sink holds and the vendor no longer serves
  read_ms      INTEGER NOT NULL, -- the vendor's clock before the read
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (sink_id, partition_id, from_ms, to_ms, age_ms),
  CHECK (from_ms < to_ms)
) WITHOUT ROWID;
CREATE TABLE runs (
  id       INTEGER PRIMARY KEY,
  pipeline TEXT    NOT NULL,
  start_ms INTEGER NOT NULL,
  end_ms   INTEGER NOT NULL,
  exit     INTEGER NOT NULL,
  summary  TEXT    NOT NULL
);
CREATE TABLE sinks (
  id            INTEGER PRIMARY KEY,
  identity      TEXT    NOT NULL UNIQUE,
  pipeline      TEXT    NOT NULL,
  name          TEXT    NOT NULL,
  type          TEXT    NOT NULL,
  location      TEXT    NOT NULL,
  memory        INTEGER NOT NULL CHECK (memory IN (0, 1)),
  registered_ms INTEGER NOT NULL
);
CREATE TABLE slices (
  sink_id      INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  slice        TEXT    NOT NULL,
  from_ms      INTEGER NOT NULL,
  to_ms        INTEGER NOT NULL,
  rev          INTEGER NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('planned', 'reading', 'committed', 'split', 'failed', 'quarantined')),
  attempts     INTEGER NOT NULL DEFAULT 0,
  entry        INTEGER NOT NULL DEFAULT 0,
  rows         INTEGER NOT NULL DEFAULT 0,
  bytes        INTEGER NOT NULL DEFAULT 0,
  digest       TEXT    NOT NULL DEFAULT '',
  dead_rows    INTEGER NOT NULL DEFAULT 0,
  dead_bytes   INTEGER NOT NULL DEFAULT 0,
  dead_digest  TEXT    NOT NULL DEFAULT '',
  dead_letters TEXT    NOT NULL DEFAULT '',
  parts        TEXT    NOT NULL DEFAULT '[]',
  kind         TEXT    NOT NULL DEFAULT '',
  error        TEXT    NOT NULL DEFAULT '',
  hint         TEXT    NOT NULL DEFAULT '',
  at_ms        INTEGER NOT NULL,
  UNIQUE (sink_id, slice),
  CHECK (from_ms < to_ms)
);
CREATE TABLE unavailable (
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  from_ms      INTEGER NOT NULL,
  to_ms        INTEGER NOT NULL,
  reason       TEXT    NOT NULL,
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (partition_id, from_ms, to_ms),
  CHECK (from_ms < to_ms)
) WITHOUT ROWID;
CREATE TABLE versions (
  pipeline       TEXT    NOT NULL,
  at_ms          INTEGER NOT NULL,
  sluice         TEXT    NOT NULL,
  source         TEXT    NOT NULL,
  source_version TEXT    NOT NULL,
  PRIMARY KEY (pipeline, at_ms)
) WITHOUT ROWID;
CREATE VIEW v_budget AS
SELECT n.key, n.namespace, n.window_ns / 1e9 AS window_seconds, n.allowed_requests, n.allowed_bytes,
       coalesce(sum(r.requests), 0) AS counted_requests, coalesce(sum(r.bytes), 0) AS counted_bytes,
       coalesce(sum(r.id IS NOT NULL AND r.ended_ns IS NULL), 0) AS open_reservations
FROM budget_namespaces n LEFT JOIN budget_reservations r ON r.key = n.key AND r.namespace = n.namespace
GROUP BY n.key, n.namespace;
CREATE VIEW v_coverage AS
WITH committed AS (
  SELECT sink_id, partition_id, from_ms, to_ms, rows, bytes, dead_rows,
         max(to_ms) OVER (PARTITION BY sink_id, partition_id ORDER BY from_ms, to_ms
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_ms
  FROM slices WHERE state = 'committed' AND rev = 0
), islands AS (
  SELECT *, sum(before_ms IS NULL OR before_ms < from_ms)
         OVER (PARTITION BY sink_id, partition_id ORDER BY from_ms, to_ms ROWS UNBOUNDED PRECEDING) AS island
  FROM committed
)
SELECT s.pipeline, s.name AS sink, p.stream, p.partition,
       strftime('%Y-%m-%dT%H:%M:%fZ', min(i.from_ms) / 1000.0, 'unixepoch') AS from_utc,
       strftime('%Y-%m-%dT%H:%M:%fZ', max(i.to_ms) / 1000.0, 'unixepoch') AS to_utc,
       count(*) AS slices, sum(i.rows) AS rows, sum(i.bytes) AS bytes, sum(i.dead_rows) AS dead_rows,
       min(i.from_ms) AS from_ms, max(i.to_ms) AS to_ms, s.identity, p.selection
FROM islands i JOIN sinks s ON s.id = i.sink_id JOIN partitions p ON p.id = i.partition_id
GROUP BY i.sink_id, i.partition_id, i.island
ORDER BY s.pipeline, s.name, p.stream, p.partition, min(i.from_ms);
CREATE VIEW v_failures AS
SELECT pipeline, sink, stream, partition, from_utc, to_utc, state, attempts, kind, error, hint, at_utc, slice
FROM v_slices WHERE state IN ('failed', 'quarantined')
ORDER BY pipeline, sink, stream, partition, from_ms;
CREATE VIEW v_rechecks AS
SELECT s.pipeline, s.name AS sink, p.stream, p.partition,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.from_ms / 1000.0, 'unixepoch') AS from_utc,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.to_ms / 1000.0, 'unixepoch') AS to_utc,
       r.age_ms / 1000.0 AS age_seconds, r.outcome, r.rev, r.rows, r.bytes, r.gone_rows,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.at_ms / 1000.0, 'unixepoch') AS at_utc, s.identity, p.selection
FROM rechecks r JOIN sinks s ON s.id = r.sink_id JOIN partitions p ON p.id = r.partition_id
WHERE r.outcome <> 'first'
ORDER BY s.pipeline, s.name, p.stream, p.partition, r.from_ms, r.age_ms;
CREATE VIEW v_runs AS
SELECT id, pipeline, strftime('%Y-%m-%dT%H:%M:%fZ', start_ms / 1000.0, 'unixepoch') AS start_utc,
       strftime('%Y-%m-%dT%H:%M:%fZ', end_ms / 1000.0, 'unixepoch') AS end_utc, exit, summary
FROM runs ORDER BY start_ms DESC, id DESC;
CREATE VIEW v_slices AS
SELECT s.pipeline, s.name AS sink, p.stream, p.partition, l.state,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.from_ms / 1000.0, 'unixepoch') AS from_utc,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.to_ms / 1000.0, 'unixepoch') AS to_utc,
       l.rev, l.attempts, l.entry, l.rows, l.bytes, l.dead_rows, l.dead_letters,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.at_ms / 1000.0, 'unixepoch') AS at_utc,
       l.kind, l.error, l.hint, l.parts, l.digest, l.slice, s.identity, p.selection, l.from_ms, l.to_ms
FROM slices l JOIN sinks s ON s.id = l.sink_id JOIN partitions p ON p.id = l.partition_id;
CREATE VIEW v_unavailable AS
SELECT p.stream, p.partition,
       strftime('%Y-%m-%dT%H:%M:%fZ', u.from_ms / 1000.0, 'unixepoch') AS from_utc,
       strftime('%Y-%m-%dT%H:%M:%fZ', u.to_ms / 1000.0, 'unixepoch') AS to_utc,
       u.reason, strftime('%Y-%m-%dT%H:%M:%fZ', u.at_ms / 1000.0, 'unixepoch') AS at_utc, p.selection
FROM unavailable u JOIN partitions p ON p.id = u.partition_id
ORDER BY p.stream, p.partition, u.from_ms;
