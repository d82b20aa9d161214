-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW `prod_events` AS
SELECT `timestamp`, `received_from`, `severity_number`, `body`, `log_id`, `log_name`, `attributes`, `labels`, `sequence`, `day`, `odd \`name" it's`, `body_raw`
FROM file('/data/it\'s a lake/*/*/*.parquet', 'Parquet', '`timestamp` Nullable(DateTime64(9, \'UTC\')), `received_from` Nullable(DateTime64(9, \'UTC\')), `severity_number` Nullable(Int32), `body` Nullable(String), `log_id` Nullable(String), `log_name` Nullable(String), `attributes` Map(String, Nullable(String)), `labels` Array(Nullable(String)), `sequence` Nullable(UInt64), `day` Nullable(Date32), `odd \\`name" it\'s` Nullable(String), `body_raw` Nullable(String)')
SETTINGS use_hive_partitioning = 0;
