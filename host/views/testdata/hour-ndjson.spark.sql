-- Stream events of pipeline prod, as sink lake has it.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `timestamp` TIMESTAMP,
  `received_from` TIMESTAMP,
  `severity_number` INT,
  `body` STRING,
  `log_id` STRING,
  `log_name` STRING,
  `attributes` MAP<STRING, STRING>,
  `labels` ARRAY<STRING>,
  `sequence` DECIMAL(20, 0),
  `day` DATE,
  `odd ``name" it's` STRING,
  `body_raw` STRING
)
USING JSON
OPTIONS ('timestampFormat' = 'yyyy-MM-dd\'T\'HH:mm:ss.SSSSSSSSSXXX', 'mode' = 'FAILFAST', 'recursiveFileLookup' = 'true', 'pathGlobFilter' = '*.ndjson*')
LOCATION 'file:///data/it\'s a lake/';
