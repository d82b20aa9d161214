"""Converts a file of lines into Parquet with zstd or into NDJSON, as the name says: duckdb_copy.py LINES OUT LOG_ID

DuckDB has no reader of lines but that of CSV, here with a delimiter that no line holds. It takes a carriage return before a line feed for the
end of a line and what is between the two for another one, so that what it writes has lost those. The columns are those that Sluice fills.
"""

import datetime
import sys

import duckdb

lines, out, log_id = sys.argv[1:]
how = "FORMAT json" if out.endswith("json") else "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
now = datetime.datetime.now().isoformat(" ")
day = now[:10]
duckdb.sql("SET preserve_insertion_order = false")  # or its memory is that of the whole
duckdb.sql(
    f"""COPY (
    SELECT TIMESTAMP '{now}' AS observed_timestamp, TIMESTAMP '{day}' AS received_from, TIMESTAMP '{day}' + INTERVAL 1 DAY AS received_to,
        body, 'bench' AS source, '{log_id}' AS log_id
    FROM read_csv('{lines}', columns = {{'body': 'VARCHAR'}}, header = false, auto_detect = false, delim = '\x01', quote = '', escape = '',
        strict_mode = false, max_line_size = 16777216)
    WHERE body <> ''
) TO '{out}' ({how})"""
)
