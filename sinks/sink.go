// Package sinks is what the author of a sink imports: where batches go, and how a slice is committed there.
//
// A slice is written in a transaction: Begin, Append any number of times, then Commit or Abort. Nothing of it is visible
// before Commit; after Commit has returned a Receipt it is durable. A sink that can say what it holds implements Memory:
// then its own memory is the truth and the ledger follows it. One that can't is at least once, and says so in its docs.
package sinks

import (
	"context"
	"iter"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
)

// Sink takes slices of one pipeline. Its methods may be called concurrently; transactions of different slices run side by
// side unless the sink implements Serial.
type Sink interface {
	// Begin starts a transaction for a slice. attempt counts the slice's tries from 0. schema is the full schema of every
	// batch that follows. ErrOverlap if the sink knows that the range is covered already. ctx is for Begin alone.
	Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (Txn, error)
	// Identity is the sink's own lasting ID: ledger rows are keyed by it, not by name or path. It is known once the sink is
	// open and never changes.
	Identity() string
	// Close gives up open transactions, as Abort does, and frees what the sink holds, its lock too. Idempotent.
	Close() error
}

// Memory is implemented by sinks that can say what they hold; for them the sink is the truth.
type Memory interface {
	// Committed yields the receipts of all entries of the days that the gap meets, of its selection, stream and partition, day
	// by day in time order and within a day in the order of their numbers (all of a day, so that the last number says what is
	// known of it). after(day), if not nil, returns the last entry number that
	// the caller knows of that day; only later ones are yielded. A forget entry is yielded as a Receipt with Forgets set, after
	// the commits that it withdraws. It rolls forward what a crash left between commit point and rename. An error ends the sequence.
	Committed(ctx context.Context, g flow.Gap, after func(day time.Time) uint64) iter.Seq2[Receipt, error]
	// Lookup returns the receipt of a committed slice, or ErrNotCommitted.
	Lookup(ctx context.Context, s flow.Slice) (Receipt, error)
}

// Lister is implemented by sinks with Memory that can say what they hold without being asked for a partition: a lost ledger
// is rebuilt from it.
type Lister interface {
	// Partitions returns every partition of which something was committed.
	Partitions(ctx context.Context) ([]flow.Partition, error)
	// Strays yields the paths, relative to the root, of data files that no commit names. An error ends the sequence.
	Strays(ctx context.Context) iter.Seq2[string, error]
}

// Sizer is implemented by sinks that hold copies of what they were given: Buffer is the most bytes that one open
// transaction may hold beyond the batch in Append.
type Sizer interface {
	Buffer() int64
}

// Serial is implemented by sinks that take slices of a partition one at a time.
type Serial interface {
	Serial() bool
}

// Deadliner is implemented by sinks that end a transaction which is open for too long, as a broker does. Deadline is how long one
// may be, from Begin to the end of Commit; 0: without a limit. The pipeline plans slices that take a third of it by what earlier
// ones took, and cuts one that comes near it.
type Deadliner interface {
	Deadline() time.Duration
}

// Txn is one slice's transaction; it is dead after Commit or Abort. Its methods are called from one goroutine at a time.
type Txn interface {
	// Append writes a batch. The batch is the sink's only until Append returns: what it needs longer it copies. rejected
	// lists the records that this sink can't take; they become dead letters. After an error only Abort is legal.
	Append(ctx context.Context, b flow.Batch) (rejected []Rejected, err error)
	// Commit makes the slice durable and visible. ErrInDoubt: nobody knows, ask Lookup first. ErrOverlap: someone else
	// covered part of the range; nothing of this transaction is or becomes visible. After any error the transaction is dead.
	Commit(ctx context.Context, a Account) (Receipt, error)
	// Abort gives the transaction up and leaves nothing visible. Legal after a failed Append or Commit and idempotent. It returns when
	// nothing of the transaction is written any more, since the slice may be begun again then: it waits for a write that hangs.
	Abort() error
}

// Rejected is a record that a sink can't take: the row of the batch, and why.
type Rejected struct {
	Row    int
	Reason string
}

// Account is what happened to the records of a slice on the way to one sink: Read is the sum of the others. DeadLetters
// names the file of staged dead letters, empty without any.
type Account struct {
	Read, Delivered, Dead, Filtered flow.Sum
	DeadLetters                     string
	Source                          SourceInfo
}

// SourceInfo is what wrote the slice, for the commit entry; it only informs.
type SourceInfo struct {
	Name, Version string
	Sluice        string
}

// Balanced reports whether read = delivered + dead + filtered, in rows, bytes and digest.
func (a Account) Balanced() bool {
	return a.Read == a.Delivered.Plus(a.Dead).Plus(a.Filtered)
}

// Part is one data file (or object) of a committed slice.
type Part struct {
	Path   string `json:"path"` // relative to the sink's root, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // 64 hex digits
	Rows   uint64 `json:"rows"`
}

// Receipt proves a commit.
type Receipt struct {
	Slice       flow.Slice
	Entry       uint64 // the commit's number in its partition and day; 0 for sinks without Memory
	Parts       []Part
	Delivered   flow.Sum
	Dead        flow.Sum
	DeadLetters string
	At          time.Time
	Forgets     []uint64 // not empty: this entry covers nothing, it withdraws the entries of these numbers of its day
}
