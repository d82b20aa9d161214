package ledger

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sluice-io/sluice/proto/fault"
)

// Errors that callers branch on.
var (
	// ErrLocked says that another process holds the state; the error is a *LockedError. Exit code 4.
	ErrLocked = errors.New("another run holds this state")
	// ErrNoLedger says that there is nothing to read yet.
	ErrNoLedger = errors.New("there is no ledger")
	// ErrNewer says that a later Sluice wrote the ledger; the error is a *NewerError.
	ErrNewer = errors.New("the ledger was written by a later version of Sluice")
	// ErrCorrupt says that the file isn't a ledger or is damaged.
	ErrCorrupt = errors.New("the ledger is damaged")
	// ErrCommitted says that a slice which was to begin is committed already.
	ErrCommitted = errors.New("slice is committed already")
	// ErrMoved says that a sink's place and identity don't fit what the ledger knows; the error is a *MovedError.
	ErrMoved = errors.New("the sink isn't where it was")
	// ErrDisagrees says that a receipt contradicts the ledger; the error is a *DisagreementError. Only a rebuild may go on.
	ErrDisagrees = errors.New("the sink's commit log and the ledger disagree")
)

// LockedError is an ErrLocked that names the holder. PID is 0 if it isn't known.
type LockedError struct {
	Dir string
	PID int
}

// Error implements error.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("state %s: %v", e.Dir, ErrLocked)
	}
	return fmt.Sprintf("state %s: %v: process %d", e.Dir, ErrLocked, e.PID)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// NewerError is an ErrNewer with both sides' versions.
type NewerError struct {
	Path           string
	Schema, Known  int    // of the file, of this binary
	Writer, Binary string // versions of Sluice
}

// Error implements error.
func (e *NewerError) Error() string {
	return fmt.Sprintf("ledger %s: schema %d was written by Sluice %s; this is Sluice %s, which knows schema %d",
		e.Path, e.Schema, orUnknown(e.Writer), orUnknown(e.Binary), e.Known)
}

// Is makes errors.Is(err, ErrNewer) true.
func (e *NewerError) Is(target error) bool { return target == ErrNewer }

// MovedError is an ErrMoved: the place Location was known to hold the sink Known and now holds Found, or the sink Found is in two
// places, Location and Other.
type MovedError struct {
	Location, Other string
	Known, Found    string
}

// Error implements error.
func (e *MovedError) Error() string {
	if e.Other != "" {
		return fmt.Sprintf("sink %s is in two places, %s and %s: is one of them a copy?", e.Found, e.Other, e.Location)
	}
	return fmt.Sprintf("%s was the place of sink %s and now holds sink %s: is it mounted? was it moved?", e.Location, e.Known, e.Found)
}

// Is makes errors.Is(err, ErrMoved) true.
func (e *MovedError) Is(target error) bool { return target == ErrMoved }

// DisagreementError is an ErrDisagrees that says what the ledger holds and what the receipt claims.
type DisagreementError struct {
	Sink  string
	Entry uint64
	Holds string // by the ledger
	Got   string // by the receipt
}

// Error implements error.
func (e *DisagreementError) Error() string {
	return fmt.Sprintf("sink %s: entry %d: the ledger holds %s, the sink's commit log says %s", e.Sink, e.Entry, e.Holds, e.Got)
}

// Is makes errors.Is(err, ErrDisagrees) true.
func (e *DisagreementError) Is(target error) bool { return target == ErrDisagrees }

const (
	hintRebuild = "set the file aside and read the sinks' own commit logs again: 'sluice ledger rebuild'"
	hintMoved   = "mount the folder or move it back; if its data was removed on purpose: 'sluice ledger rebuild'"
)

// hintCopy says what to do about a sink that is at before and at now. A copy can't become another sink: its commit log says what
// is covered, and without that log its data would be written again.
func hintCopy(before, now string) string {
	return fmt.Sprintf("to go on in %s, set `path` back to it and remove the copy; to go on in %s, move the other away; a further sink begins in an empty folder",
		before, now)
}

// explain gives errors of the database engine their kind and hint; others pass.
func explain(path string, err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	op := "ledger " + path
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fault.New(fault.Config, op, hintRebuild, fmt.Errorf("%w: %w", ErrCorrupt, err))
	case sqlite3.SQLITE_FULL:
		return fault.New(fault.Config, op, "free space in the state folder's file system", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fault.New(fault.Config, op, "check the permissions and the free space of the state folder", err)
	case sqlite3.SQLITE_BUSY:
		return fault.New(fault.Transient, op, "another program holds a transaction on the ledger: end it", err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

func orUnknown(version string) string {
	if version == "" {
		return "(unknown version)"
	}
	return version
}
