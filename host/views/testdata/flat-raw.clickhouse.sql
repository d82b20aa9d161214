-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW `prod_events` AS
SELECT `body`
FROM file('/data/it\'s a lake/*/*/*.log*', 'LineAsString', '`body` String')
SETTINGS use_hive_partitioning = 0;
