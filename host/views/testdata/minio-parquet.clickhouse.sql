-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
CREATE OR REPLACE VIEW `prod_events` AS
SELECT `timestamp`, `received_from`, `severity_number`, `body`, decodeURLComponent(extract(_path, '/log_id=([^/]*)/')) AS `log_id`, `log_name`, `attributes`, `labels`, `sequence`, `day`, `odd \`name" it's`, `body_raw`, decodeURLComponent(extract(_path, '/stream=([^/]*)/')) AS `stream`, toDate(decodeURLComponent(extract(_path, '/date=([^/]*)/'))) AS `date`
FROM s3('http://minio:9000/acme-logs/prod/stream=events/log_id=*/date=*/*.parquet', 'Parquet', '`timestamp` Nullable(DateTime64(9, \'UTC\')), `received_from` Nullable(DateTime64(9, \'UTC\')), `severity_number` Nullable(Int32), `body` Nullable(String), `log_name` Nullable(String), `attributes` Map(String, Nullable(String)), `labels` Array(Nullable(String)), `sequence` Nullable(UInt64), `day` Nullable(Date32), `odd \\`name" it\'s` Nullable(String), `body_raw` Nullable(String)')
SETTINGS use_hive_partitioning = 0;
