error: spark can't read the format parquet of this sink: it refuses timestamps with nanoseconds; timestamps us or ms can be read
