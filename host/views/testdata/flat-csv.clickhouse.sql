-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW `prod_events` AS
SELECT `timestamp`, `received_from`, `severity_number`, `body`, `log_id`, `log_name`, `attributes`, `labels`, `sequence`, `day`, `odd \`name" it's`, base64Decode(`body_raw`) AS `body_raw`
FROM file('/data/it\'s a lake/*/*/*.csv*', 'CSVWithNames', '`timestamp` Nullable(DateTime64(9, \'UTC\')), `received_from` Nullable(DateTime64(9, \'UTC\')), `severity_number` Nullable(Int32), `body` Nullable(String), `log_id` Nullable(String), `log_name` Nullable(String), `attributes` Nullable(String), `labels` Nullable(String), `sequence` Nullable(UInt64), `day` Nullable(Date32), `odd \\`name" it\'s` Nullable(String), `body_raw` Nullable(String)')
SETTINGS use_hive_partitioning = 0, date_time_input_format = 'best_effort', input_format_csv_empty_as_default = 0, format_csv_allow_single_quotes = 0, input_format_csv_trim_whitespaces = 0, format_csv_null_representation = '';
