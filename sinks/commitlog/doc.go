// Package commitlog gives sinks that write files their transactions: parts are staged out of sight, a numbered entry of a
// log commits them all at once, and what a crash left is rolled forward or swept.
//
//	log, err := commitlog.Open(ctx, commitlog.Options{Root: root, Owner: owner})
//	tx, err := log.Begin(ctx, slice)
//	f, err := tx.Create()            // 00000.part
//	...                              // write, sync, close
//	receipt, err := tx.Commit(ctx, []sinks.Part{{Path: "date=2026-11-01/x.log", ...}}, account)
//
// StoreLog is the same log on an object store, where parts have their final keys at once and the entry alone decides.
//
// The log is the sink's memory: it alone decides what is covered. FORMAT.md describes what lies on disk.
//
// # Invariants
//
//   - Everything that an entry names is durable before the entry has its number: parts, their folder, the folder's name.
//   - An entry gets its number by a link that fails if the name exists. Numbers are dense, so success proves that nothing
//     came between the entries that were checked and this one.
//   - The fsync of the log's folder after that link is the commit point. No part has its final name before it.
//   - A reader syncs the log's folder before it believes an entry that it didn't write: whoever linked it may have died
//     before its own sync.
//   - A staging folder is deleted only after it was renamed (so that no late link can name it) and the log was read again,
//     or after its parts are in place and their folders synced.
//   - After the link was tried and failed in a way that leaves its outcome open, nobody but a sweep touches the staging folder.
//
// The package deliberately knows no format and no layout: paths of parts are the caller's.
package commitlog
