// Package file is the sink that writes lines, NDJSON and CSV to files, exactly once for each slice. Package parts has the
// transaction and the layout, package textfile the formats.
package file

import "github.com/sluice-io/sluice/sinks/parts"

// folder is the sink's type.
var folder = parts.Type{Name: sinkType, Schema: parts.FolderSchema(sinkType, properties), Options: options}

// Definition is the file sink's.
var Definition = folder.Definition()
