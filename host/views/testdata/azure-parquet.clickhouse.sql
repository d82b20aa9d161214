error: clickhouse asks for the account's key in the statement itself to read Azure: write it by hand, from logs/x/stream=events/log_id=*/date=*/*.parquet
