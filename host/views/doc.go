// Package views writes the SQL by which query engines read what sinks of files have written: a view for DuckDB and ClickHouse, a table for
// Spark and Athena, with the stream's columns and those that the folders tell.
//
// It reads no file and asks no engine. What an engine can't read exactly is an error that says what would do, never a view that leaves
// something out.
package views
