package sinks

import (
	"context"
	"fmt"

	"github.com/sluice-io/sluice/proto/flow"
)

// Auditor is implemented by sinks that can read back what they hold: verify compares it with the receipts, and records that a
// vendor indexed late are told apart by it from those that are there.
type Auditor interface {
	// Audit reads what the sink holds now for a committed slice, as a reader of the target would get it, and calls each for every
	// record with the Sum of that one record: Rows 1, Bytes and Digest as the source's own digest counts them. Records come in any
	// order, from one goroutine; an error of each ends the audit and is returned. What is wrong with the target isn't an error but
	// a Finding, and the audit goes on with what is left; err is for an audit that couldn't be done, such as a server that is down.
	// A target that can't give all records back as they were delivered, such as one with coarser times, has its rows and parts
	// compared: an *InexactError beside the findings says so, and the Sums that each was called with aren't the records' then.
	// It may be called concurrently, is safe beside transactions of other slices, and works on a sink that was opened with
	// Config.ReadOnly.
	Audit(ctx context.Context, r Receipt, each func(record flow.Sum) error) ([]Finding, error)
}

// FindingKind is what an audit found wrong with a part.
type FindingKind string

// The kinds of findings.
const (
	FindingMissing   FindingKind = "missing"   // a part that the commit names isn't there
	FindingTruncated FindingKind = "truncated" // a part is shorter than it was committed
	FindingChanged   FindingKind = "changed"   // a part has other bytes than were committed
	FindingDoubled   FindingKind = "doubled"   // data that no commit names, or that is there a second time
	FindingDiffers   FindingKind = "differs"   // the records that were read don't add up to the receipt
)

// Finding is one thing that isn't as it was committed.
type Finding struct {
	Kind FindingKind `json:"kind"`
	Path string      `json:"path"`           // the part, relative to the root; or what the sink calls a place: "logs/3 offset 1042", "sluice.events"
	What string      `json:"what"`           // one sentence: what is wrong, with both values
	Hint string      `json:"hint,omitempty"` // what to do next
}

// InexactError says that all that can be compared of a slice was compared, and that its records can't be told from what the target
// holds.
type InexactError struct {
	Why      string // "the body of a record has line ends, which raw files don't tell from those between records"
	Compared string // "rows and the SHA-256 of each part"
}

// Error implements error.
func (e *InexactError) Error() string {
	return fmt.Sprintf("the records can't be had back exactly, so %s were compared alone: %s", e.Compared, e.Why)
}

// Difference says how records that were read back differ from what the receipt says was delivered; empty if they don't.
func (r Receipt) Difference(got flow.Sum) string {
	want := r.Delivered
	switch {
	case got.Rows < want.Rows:
		return fmt.Sprintf("%d records are there and %d were delivered: %d are gone", got.Rows, want.Rows, want.Rows-got.Rows)
	case got.Rows > want.Rows:
		return fmt.Sprintf("%d records are there and %d were delivered: %d too many", got.Rows, want.Rows, got.Rows-want.Rows)
	case got.Bytes != want.Bytes:
		return fmt.Sprintf("the %d records have %d bytes and were delivered with %d", got.Rows, got.Bytes, want.Bytes)
	case got.Digest != want.Digest:
		return fmt.Sprintf("the %d records, %d bytes, have the digest %s and were delivered with %s", got.Rows, got.Bytes, got.Digest, want.Digest)
	}
	return ""
}
