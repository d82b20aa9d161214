-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
-- Run MSCK REPAIR TABLE again when days or logs have come.
CREATE EXTERNAL TABLE IF NOT EXISTS `prod_events` (
  `timestamp` timestamp,
  `received_from` timestamp,
  `severity_number` int,
  `body` string,
  `log_name` string,
  `attributes` map<string, string>,
  `labels` array<string>,
  `sequence` bigint,
  `day` date,
  `odd ``name" it's` string,
  `body_raw` binary
)
PARTITIONED BY (`log_id` string, `date` date)
STORED AS PARQUET
LOCATION 's3://acme-logs/prod/stream=events/';
MSCK REPAIR TABLE `prod_events`;
