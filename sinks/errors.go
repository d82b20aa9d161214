package sinks

import (
	"errors"
	"fmt"

	"github.com/sluice-io/sluice/proto/flow"
)

// Errors that the pipeline branches on.
var (
	// ErrNotCommitted is Lookup's answer for a slice that isn't there.
	ErrNotCommitted = errors.New("slice is not committed")
	// ErrInDoubt says that a commit may or may not have happened: Lookup decides.
	ErrInDoubt = errors.New("the commit's outcome is not known")
	// ErrOverlap says that part of the range is covered already; the range is planned again.
	ErrOverlap = errors.New("the range meets what is already committed")
	// ErrOwned says that the target belongs to another pipeline, format, layout or selection, or that another process holds it.
	ErrOwned = errors.New("the target is taken")
	// ErrAbsent says that the target of a sink that was opened to be read isn't there: nothing was ever written to it, or it was
	// moved or deleted.
	ErrAbsent = errors.New("the target isn't there")
	// ErrDead says that a transaction was used after Commit or Abort: a bug of the caller.
	ErrDead = errors.New("the transaction has ended")
)

// OverlapError is an ErrOverlap that names the entry in the way.
type OverlapError struct {
	Slice flow.Slice // what was to be committed
	By    flow.Slice // what covers part of it
	Entry uint64
}

// Error implements error.
func (e *OverlapError) Error() string {
	return fmt.Sprintf("slice %s: entry %d already covers %s", e.Slice, e.Entry, e.By.Range())
}

// Is makes errors.Is(err, ErrOverlap) true.
func (e *OverlapError) Is(target error) bool { return target == ErrOverlap }
