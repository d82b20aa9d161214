error: duckdb can't read the format raw of this sink: its readers of compressed lines drop empty ones and split at carriage returns; compression none, ndjson and parquet can be read exactly
