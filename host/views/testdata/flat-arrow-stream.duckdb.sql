error: duckdb can't read the format arrow-stream of this sink: its reader of Arrow files is an extension of its community; write parquet, or load the files with pyarrow
