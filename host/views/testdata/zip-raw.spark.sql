-- Stream events of pipeline prod, as sink lake has it.
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
LOCATION 'file:///data/it\'s a lake/stream=events/';
MSCK REPAIR TABLE `prod_events`;
