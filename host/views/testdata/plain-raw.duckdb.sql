-- Stream events of pipeline prod, as sink lake has it.
CREATE OR REPLACE VIEW "prod_events" AS
SELECT unnest(string_split(content[:-2], chr(10))) AS body, url_decode(regexp_extract(filename, '/stream=([^/]*)/', 1)) AS "stream", url_decode(regexp_extract(filename, '/log_id=([^/]*)/', 1)) AS "log_id", CAST(url_decode(regexp_extract(filename, '/date=([^/]*)/', 1)) AS DATE) AS "date"
FROM read_text('/data/it''s a lake/stream=events/log_id=*/date=*/*.log*');
