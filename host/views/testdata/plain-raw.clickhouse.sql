-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW `prod_events` AS
SELECT `body`, decodeURLComponent(extract(_path, '/stream=([^/]*)/')) AS `stream`, decodeURLComponent(extract(_path, '/log_id=([^/]*)/')) AS `log_id`, toDate(decodeURLComponent(extract(_path, '/date=([^/]*)/'))) AS `date`
FROM file('/data/it\'s a lake/stream=events/log_id=*/date=*/*.log*', 'LineAsString', '`body` String')
SETTINGS use_hive_partitioning = 0;
