error: athena can't read the format raw of this sink: its reader of lines takes a carriage return for the end of the record, too; ndjson and parquet can be read
