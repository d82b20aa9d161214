package verify

import (
	"context"
	"fmt"

	"github.com/sluice-io/sluice/proto/fault"
)

// unread is what couldn't be read of a sink. What a person has to look at, such as a file without the right to read it or a damaged entry of
// the log, keeps nothing else from being proved; a server that is down does.
type unread struct {
	first error
	n     int
}

// passes notes an error and reports whether the verification goes on without what it is of.
func (v *verifier) passes(ctx context.Context, err error) bool {
	switch fault.KindOf(err) {
	case fault.Config, fault.Corrupt:
	default:
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unread.n++; v.unread.first == nil {
		v.unread.first = err
	}
	return true
}

// err is nil if all was read.
func (u *unread) err() error {
	if u.n < 2 {
		return u.first
	}
	return &moreError{u.first, u.n - 1}
}

// moreError is the first of several errors.
type moreError struct {
	first error
	more  int
}

// Error implements error.
func (e *moreError) Error() string {
	return fmt.Sprintf("%v (and %d more that couldn't be read)", e.first, e.more)
}

// Unwrap implements errors.Unwrap.
func (e *moreError) Unwrap() error { return e.first }
