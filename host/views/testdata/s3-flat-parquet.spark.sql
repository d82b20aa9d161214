-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `timestamp` TIMESTAMP,
  `received_from` TIMESTAMP,
  `severity_number` INT,
  `body` STRING,
  `log_id` STRING,
  `log_name` STRING,
  `attributes` MAP<STRING, STRING>,
  `labels` ARRAY<STRING>,
  `sequence` BIGINT,
  `day` DATE,
  `odd ``name" it's` STRING,
  `body_raw` BINARY
)
USING PARQUET
OPTIONS ('recursiveFileLookup' = 'true')
LOCATION 's3a://acme-logs/prod/';
