-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW "prod_events" AS
SELECT unnest(string_split(content[:-2], chr(10))) AS body
FROM read_text('/data/it''s a lake/*/*/*.log*');
