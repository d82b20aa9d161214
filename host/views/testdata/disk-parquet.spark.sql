-- Stream events of pipeline prod, as sink lake has it.
-- Run MSCK REPAIR TABLE again when days or logs have come.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `timestamp` TIMESTAMP,
  `received_from` TIMESTAMP,
  `severity_number` INT,
  `body` STRING,
  `log_name` STRING,
  `attributes` MAP<STRING, STRING>,
  `labels` ARRAY<STRING>,
  `sequence` BIGINT,
  `day` DATE,
  `odd ``name" it's` STRING,
  `body_raw` BINARY,
  `log_id` STRING,
  `date` DATE
)
USING PARQUET
PARTITIONED BY (`log_id`, `date`)
LOCATION 'file:///data/it\'s a lake/stream=events/';
MSCK REPAIR TABLE `prod_events`;
