-- Stream events of pipeline prod, as sink lake has it.
-- Files of slices that aren't committed yet may lie among the others while a run works: the commit log below
-- _sluice/commits/ names those that count. Ask for ranges that are covered (`sluice status`) while no run works on them.
INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;
CREATE OR REPLACE SECRET "prod_events_store" (TYPE s3, PROVIDER credential_chain, SCOPE 's3://acme-logs/prod', REGION 'eu-central-1');
CREATE OR REPLACE VIEW "prod_events" AS
SELECT unnest(string_split(content[:-2], chr(10))) AS body, url_decode(regexp_extract(filename, '/stream=([^/]*)/', 1)) AS "stream", url_decode(regexp_extract(filename, '/log_id=([^/]*)/', 1)) AS "log_id", CAST(url_decode(regexp_extract(filename, '/date=([^/]*)/', 1)) AS DATE) AS "date"
FROM read_text('s3://acme-logs/prod/stream=events/log_id=*/date=*/*.log*');
