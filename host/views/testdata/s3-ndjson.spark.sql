-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
-- Run MSCK REPAIR TABLE again when days or logs have come.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `timestamp` TIMESTAMP,
  `received_from` TIMESTAMP,
  `severity_number` INT,
  `body` STRING,
  `log_name` STRING,
  `attributes` MAP<STRING, STRING>,
  `labels` ARRAY<STRING>,
  `sequence` DECIMAL(20, 0),
  `day` DATE,
  `odd ``name" it's` STRING,
  `body_raw` STRING,
  `log_id` STRING,
  `date` DATE
)
USING JSON
OPTIONS ('timestampFormat' = 'yyyy-MM-dd\'T\'HH:mm:ss.SSSSSSSSSXXX', 'mode' = 'FAILFAST', 'pathGlobFilter' = '*.ndjson*')
PARTITIONED BY (`log_id`, `date`)
LOCATION 's3a://acme-logs/prod/stream=events/';
MSCK REPAIR TABLE `prod_events`;
