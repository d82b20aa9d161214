-- What the vendor itself said of a range, each time it was asked: usage figures are kept by the vendor for days only.
-- NULL: not told.
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

-- By which versions a pipeline ran, from when on: a row for each change.
CREATE TABLE versions (
  pipeline       TEXT    NOT NULL,
  at_ms          INTEGER NOT NULL,
  sluice         TEXT    NOT NULL,
  source         TEXT    NOT NULL,
  source_version TEXT    NOT NULL,
  PRIMARY KEY (pipeline, at_ms)
) WITHOUT ROWID;

-- Reads of committed ranges in search of records that the vendor indexed late. age_ms is how long after the range's end the read became
-- due; 0: the read that made the range covered.
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

CREATE VIEW v_rechecks AS
SELECT s.pipeline, s.name AS sink, p.stream, p.partition,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.from_ms / 1000.0, 'unixepoch') AS from_utc,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.to_ms / 1000.0, 'unixepoch') AS to_utc,
       r.age_ms / 1000.0 AS age_seconds, r.outcome, r.rev, r.rows, r.bytes, r.gone_rows,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.at_ms / 1000.0, 'unixepoch') AS at_utc, s.identity, p.selection
FROM rechecks r JOIN sinks s ON s.id = r.sink_id JOIN partitions p ON p.id = r.partition_id
WHERE r.outcome <> 'first'
ORDER BY s.pipeline, s.name, p.stream, p.partition, r.from_ms, r.age_ms;

-- What a run was expected to take when it began, to be held against what it took.
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

-- What the last start of each pipeline asked for, whether it went on or not: the partitions with what people call them, and how much
-- longer than the lag a range of theirs is left alone.
CREATE TABLE asked (
  pipeline     TEXT    NOT NULL,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  name         TEXT    NOT NULL,
  settle_ms    INTEGER NOT NULL,
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (pipeline, partition_id)
) WITHOUT ROWID;
