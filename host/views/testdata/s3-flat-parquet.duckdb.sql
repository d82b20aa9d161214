-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;
CREATE OR REPLACE SECRET "prod_events_store" (TYPE s3, PROVIDER credential_chain, SCOPE 's3://acme-logs/prod', REGION 'eu-central-1');
CREATE OR REPLACE VIEW "prod_events" AS
SELECT "timestamp", "received_from", "severity_number", "body", "log_id", "log_name", "attributes", "labels", "sequence", "day", "odd `name"" it's", "body_raw"
FROM read_parquet('s3://acme-logs/prod/*/*/*.parquet',
  hive_partitioning = false,
  union_by_name = true);
