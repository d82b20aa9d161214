// Package parquet is the sink that writes Parquet files, exactly once for each slice. Package parts has the transaction and the
// layout, package parquetfile the format.
package parquet

import "github.com/sluice-io/sluice/sinks/parts"

// folder is the sink's type.
var folder = parts.Type{Name: sinkType, Schema: parts.FolderSchema(sinkType, properties), Options: options}

// Definition is the parquet sink's.
var Definition = folder.Definition()
