-- Stream events of pipeline prod, as sink lake has it.
CREATE TABLE IF NOT EXISTS `prod_events` (
  `body` STRING
)
USING TEXT
OPTIONS ('lineSep' = '
', 'recursiveFileLookup' = 'true', 'pathGlobFilter' = '*.log*')
LOCATION 'file:///data/it\'s a lake/';
