-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW "prod_events" AS
SELECT "timestamp", "received_from", "severity_number", "body", "log_id", "log_name", CAST(CAST("attributes" AS JSON) AS MAP(VARCHAR, VARCHAR)) AS "attributes", CAST(CAST("labels" AS JSON) AS VARCHAR[]) AS "labels", "sequence", "day", "odd `name"" it's", from_base64("body_raw") AS "body_raw", "stream", "date"
FROM read_csv('/data/it''s a lake/stream=events/log_id=*/date=*/*.csv*',
  hive_partitioning = true,
  hive_types = {'stream': VARCHAR, 'log_id': VARCHAR, 'date': DATE},
  header = true,
  auto_detect = false,
  delim = ',',
  quote = '"',
  escape = '"',
  allow_quoted_nulls = false,
  max_line_size = 67108864,
  buffer_size = 134217728,
  columns = {'timestamp': 'TIMESTAMPTZ', 'received_from': 'TIMESTAMPTZ', 'severity_number': 'INTEGER', 'body': 'VARCHAR', 'log_id': 'VARCHAR', 'log_name': 'VARCHAR', 'attributes': 'VARCHAR', 'labels': 'VARCHAR', 'sequence': 'UBIGINT', 'day': 'DATE', 'odd `name" it''s': 'VARCHAR', 'body_raw': 'VARCHAR'});
