-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;
CREATE OR REPLACE SECRET "prod_events_store" (TYPE s3, PROVIDER credential_chain, SCOPE 's3://acme-logs/prod', REGION 'eu-central-1');
CREATE OR REPLACE VIEW "prod_events" AS
SELECT "timestamp", "received_from", "severity_number", "body", "log_id", "log_name", "attributes", "labels", "sequence", "day", "odd `name"" it's", from_base64("body_raw") AS "body_raw", "stream", "date"
FROM read_json('s3://acme-logs/prod/stream=events/log_id=*/date=*/*.ndjson*',
  hive_partitioning = true,
  hive_types = {'stream': VARCHAR, 'log_id': VARCHAR, 'date': DATE},
  format = 'newline_delimited',
  maximum_object_size = 67108864,
  columns = {'timestamp': 'TIMESTAMPTZ', 'received_from': 'TIMESTAMPTZ', 'severity_number': 'INTEGER', 'body': 'VARCHAR', 'log_id': 'VARCHAR', 'log_name': 'VARCHAR', 'attributes': 'MAP(VARCHAR, VARCHAR)', 'labels': 'VARCHAR[]', 'sequence': 'UBIGINT', 'day': 'DATE', 'odd `name" it''s': 'VARCHAR', 'body_raw': 'VARCHAR'});
