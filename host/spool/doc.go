// Package spool keeps slices that were read from a vendor on disk until every sink has them, so that a sink that is slow or dead
// costs no second download. It is a convenience, never the truth: losing it costs a download, and what isn't proved whole isn't used.
//
//	store, err := spool.Open(dir, max)
//	w, err := store.Create(header)            // ErrFull: read on without it
//	err = w.Write(item)                       // any error: Abort, read on without it
//	err = w.Seal(manifest, counters)          // on disk and found by Open from here on
//	r, err := store.Open(slice, schema, as)   // ErrNone, or a flow.Reader that gives the same items again
//	err = store.Remove(slice.ID)
//
// A file (FORMAT.md) is written under another name and renamed when it is whole and on disk. Each frame has a checksum that also
// covers the one before it, so that a changed, missing, doubled or moved byte shows; Open reads the whole file for that before it
// returns. The records' own digest is proved again by whoever reads them, as for a read from a vendor.
//
// What it deliberately does not do: it decides neither what is worth keeping nor when; it evicts nothing.
package spool
