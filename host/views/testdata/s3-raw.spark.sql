-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
-- Run MSCK REPAIR TABLE again when days or logs have come.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `body` STRING,
  `log_id` STRING,
  `date` DATE
)
USING TEXT
OPTIONS ('lineSep' = '
', 'pathGlobFilter' = '*.log*')
PARTITIONED BY (`log_id`, `date`)
LOCATION 's3a://acme-logs/prod/stream=events/';
MSCK REPAIR TABLE `prod_events`;
