// Package arrowfile is the sink that writes files and streams of Arrow IPC, exactly once for each slice. Package parts has the transaction and the
// layout, package ipcfile the format.
package arrowfile

import "github.com/sluice-io/sluice/sinks/parts"

// folder is the sink's type.
var folder = parts.Type{Name: sinkType, Schema: parts.FolderSchema(sinkType, properties), Options: options}

// Definition is the arrow sink's.
var Definition = folder.Definition()
