-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW "prod_events" AS
SELECT "timestamp", "received_from", "severity_number", "body", "log_id", "log_name", "attributes", "labels", "sequence", "day", "odd `name"" it's", from_base64("body_raw") AS "body_raw", "stream", "date"
FROM read_json('/data/a[[]1][*][?]{x}/stream=events/log_id=*/date=*/*.ndjson*',
  hive_partitioning = true,
  hive_types = {'stream': VARCHAR, 'log_id': VARCHAR, 'date': DATE},
  format = 'newline_delimited',
  maximum_object_size = 67108864,
  columns = {'timestamp': 'TIMESTAMPTZ', 'received_from': 'TIMESTAMPTZ', 'severity_number': 'INTEGER', 'body': 'VARCHAR', 'log_id': 'VARCHAR', 'log_name': 'VARCHAR', 'attributes': 'MAP(VARCHAR, VARCHAR)', 'labels': 'VARCHAR[]', 'sequence': 'UBIGINT', 'day': 'DATE', 'odd `name" it''s': 'VARCHAR', 'body_raw': 'VARCHAR'});
