error: spark can't read the format arrow of this sink: it has no reader of Arrow files; parquet can be read
