-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW "prod_events" AS
SELECT "timestamp", "received_from", "severity_number", "body", "log_id", "log_name", "attributes", "labels", "sequence", "day", "odd `name"" it's", "body_raw", "stream", "date"
FROM read_parquet('/data/it''s a lake/stream=events/log_id=*/date=*/*.parquet',
  hive_partitioning = true,
  hive_types = {'stream': VARCHAR, 'log_id': VARCHAR, 'date': DATE},
  union_by_name = true);
