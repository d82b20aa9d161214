-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
CREATE OR REPLACE VIEW `prod_events` AS
SELECT `body`, decodeURLComponent(extract(_path, '/stream=([^/]*)/')) AS `stream`, decodeURLComponent(extract(_path, '/log_id=([^/]*)/')) AS `log_id`, toDate(decodeURLComponent(extract(_path, '/date=([^/]*)/'))) AS `date`
FROM s3('https://acme-logs.s3.eu-central-1.amazonaws.com/prod/stream=events/log_id=*/date=*/*.log*', 'LineAsString', '`body` String')
SETTINGS use_hive_partitioning = 0;
