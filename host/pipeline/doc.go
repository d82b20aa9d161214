// Package pipeline carries slices from a source's plugin into sinks until what was asked is covered.
//
// A pipeline plans by coverage, never by comparing IDs: at the start the ledger is healed from what the sinks say they
// hold; what is left is the asked range minus the coverage minus what the vendor no longer has. The bounds of all sinks'
// gaps cut time into intervals; a slice is planned inside an interval and read once for the sinks that lack it.
//
// Where things live: intervals.go the arithmetic of gaps, partition.go what comes next of one partition, run.go the
// loop that starts slices and takes their outcomes, carry.go one slice from Lookup to Record, retry.go the only place that
// decides what an error means, sinkstate.go which sinks are down and when they are tried again, bringup.go how they are opened,
// adrift.go calls that aren't waited for, deadline.go how long a transaction may take, deadretry.go and letters.go dead letters that are
// sent again, firstrun.go what may be sent at all, heal.go the ledger's start from the sinks, clock.go the vendor's now, deadletter.go
// records that couldn't be delivered, event.go and summary.go what people see.
//
// # Invariants
//
//   - Sink first, ledger second: Record follows Commit, never the other way.
//   - Nothing later than the vendor's clock minus lag is asked for or covered.
//   - No credit is granted before every sink of the slice has begun: the first Next follows the last Begin.
//   - A cut that has begun is durable: it runs again whole while it meets the asked range, until committed, split or given
//     up.
//   - Every item is released exactly once, after every sink's Append has returned.
package pipeline
