-- Stream events of pipeline prod, as sink lake has it.
-- Run MSCK REPAIR TABLE again when days or logs have come.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `timestamp` TIMESTAMP,
  `received_from` TIMESTAMP,
  `severity_number` INT,
  `body` STRING,
  `log_name` STRING,
  `attributes` STRING,
  `labels` STRING,
  `sequence` DECIMAL(20, 0),
  `day` DATE,
  `odd ``name" it's` STRING,
  `body_raw` STRING,
  `log_id` STRING,
  `date` DATE
)
USING CSV
OPTIONS ('header' = 'true', 'multiLine' = 'true', 'escape' = '"', 'emptyValue' = '', 'timestampFormat' = 'yyyy-MM-dd\'T\'HH:mm:ss.SSSSSSSSSXXX', 'mode' = 'FAILFAST', 'pathGlobFilter' = '*.csv*')
PARTITIONED BY (`log_id`, `date`)
LOCATION 'file:///data/it\'s a lake/stream=events/';
MSCK REPAIR TABLE `prod_events`;
