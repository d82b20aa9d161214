// Package wire is the only place, beside the two ends of the connection, that touches the messages of proto/sluice/v1. It
// turns the vocabulary of proto/flow into messages and back, errors into gRPC statuses and back, and Arrow records into
// frames and back; FORMAT.md describes frames byte by byte.
//
// What comes in is never trusted: slices are validated, and every length, offset and string of a frame is checked before
// an array is built over it. What goes out isn't copied: a frame's values are written from the record's own buffers, which
// the frame keeps alive until the transport is done.
//
// It starts no process and opens no connection.
package wire
