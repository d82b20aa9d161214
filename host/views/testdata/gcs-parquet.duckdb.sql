-- Stream events of pipeline prod, as sink lake has it.
INSTALL httpfs; LOAD httpfs;
CREATE OR REPLACE SECRET "prod_events_store" (TYPE gcs, PROVIDER credential_chain, SCOPE 'gs://acme/x');
CREATE OR REPLACE VIEW "prod_events" AS
SELECT "timestamp", "received_from", "severity_number", "body", "log_id", "log_name", "attributes", "labels", "sequence", "day", "odd `name"" it's", "body_raw", "stream", "date"
FROM read_parquet('gs://acme/x/stream=events/log_id=*/date=*/*.parquet',
  hive_partitioning = true,
  hive_types = {'stream': VARCHAR, 'log_id': VARCHAR, 'date': DATE},
  union_by_name = true);
