-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
-- Run MSCK REPAIR TABLE again when days or logs have come.
CREATE EXTERNAL TABLE IF NOT EXISTS `prod_events` (
  `timestamp` string,
  `received_from` string,
  `severity_number` int,
  `body` string,
  `log_name` string,
  `attributes` map<string, string>,
  `labels` array<string>,
  `sequence` decimal(20, 0),
  `day` date,
  `odd ``name" it's` string,
  `body_raw` string
)
PARTITIONED BY (`log_id` string, `date` date)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
LOCATION 's3://acme-logs/prod/stream=events/';
MSCK REPAIR TABLE `prod_events`;
