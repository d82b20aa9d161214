// Package flow is the vocabulary that both ends of the plugin boundary, the host and the sinks share: what is read, in
// which pieces, and what is proved about it. It holds values and arithmetic, no I/O.
//
// # Glossary
//
//   - source: a plugin that reads one vendor API; it has one or more streams.
//   - stream: one kind of record with one Arrow schema. Its kind is time (log events, usage) or snapshot (what is now).
//   - partition: what a stream is divided by other than time: a log ID, a project key.
//   - selection: what decides a stream's content besides partition and time: source name, account label, query and
//     fields. Never secrets, key IDs, base_url, caps, budgets, or names of pipelines and sinks.
//   - slice: the bounded unit of work: selection, stream, partition, a half-open range [from, to) in whole UTC
//     milliseconds that never crosses a UTC day, and a revision. Its ID hashes exactly these.
//   - revision: 0 makes coverage; n > 0 adds records found late to a range that lies wholly in covered time.
//   - coverage: the union of committed ranges of a selection, stream and partition in one sink.
//   - gap: a range that was asked for and isn't covered, with hints of what earlier slices weighed.
//   - batch: one Arrow record batch in flight; its bytes on the wire are a frame.
//   - credit: bytes that a receiver has granted. Window: the bytes that a pipeline may have in flight.
//   - manifest: what a complete read contained, dead letters included.
//   - dead letter: a record that couldn't be delivered, kept with its bytes and the reason.
//   - receipt: what a sink's commit returns. Ledger: the durable account per sink identity.
//   - budget: what a vendor allows per key, namespace and time: requests and bytes.
//
// # Invariants
//
//   - IDs and digests are pinned by FORMAT.md and testdata/golden.json; changing one is a new format.
//   - The same records give the same Manifest, however they were cut into batches and in whatever order they came.
//   - Every Item is released exactly once, by whoever took it from a Reader.
package flow
