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

-- Committed ranges that were read again for records that the vendor indexed late. age_ms is the recheck's place in the settings:
-- how long after the range's end it became due.
CREATE TABLE rechecks (
  sink_id      INTEGER NOT NULL REFERENCES sinks (id) ON DELETE CASCADE,
  partition_id INTEGER NOT NULL REFERENCES partitions (id),
  from_ms      INTEGER NOT NULL,
  to_ms        INTEGER NOT NULL,
  age_ms       INTEGER NOT NULL,
  rev          INTEGER NOT NULL, -- of what was found and committed; 0: nothing new
  rows         INTEGER NOT NULL, -- found late
  bytes        INTEGER NOT NULL,
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (sink_id, partition_id, from_ms, to_ms, age_ms),
  CHECK (from_ms < to_ms)
) WITHOUT ROWID;

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
