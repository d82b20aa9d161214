// Package fault classifies errors by what the pipeline must do about them.
//
// A Kind is set where the fact is known (an HTTP status in plugins/rest, a full disk in a sink) and read in
// exactly one place, host/pipeline, which decides whether to retry, wait, cut, quarantine or stop. Errors cross the plugin
// boundary as gRPC statuses with the standard google.rpc details; proto/wire holds that table.
//
//	return fault.New(fault.Auth, "download logs", "check that the key belongs to region eu", err)
package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Kind says which decision an error asks for.
type Kind uint8

// The kinds, each with the decision that it causes.
const (
	// Unknown is an error that nobody classified: it is treated as Transient.
	Unknown Kind = iota
	// Config stops the pipeline: a person has to change a setting.
	Config
	// Auth stops the pipeline: the credentials are wrong or may not do this.
	Auth
	// NotFound stops the partition; every partition not found reads as a wrong key or region.
	NotFound
	// Throttled waits for RetryAfter and doesn't count as a failure.
	Throttled
	// NotYet is asked again later: the range isn't closed by the vendor's own clock.
	NotYet
	// Transient is retried with backoff.
	Transient
	// Truncated cuts the slice into smaller ones.
	Truncated
	// Corrupt is retried, then quarantined.
	Corrupt
	// Oversize sends the record to the dead letters; of a whole read it quarantines the slice.
	Oversize
	// InDoubt asks the sink whether the commit took place.
	InDoubt
	// Overlap plans the range again: someone else covered part of it.
	Overlap
	// Unavailable records that the vendor no longer has the range, with the reason; it is not a failure.
	Unavailable
	// Crash is a plugin process that ended, hung or broke the protocol: a fresh process is started.
	Crash
	// Bug is a broken promise between our own parts: a fresh process, then quarantine.
	Bug
	// Canceled is the caller's own stop: never charged to a slice.
	Canceled

	kinds // the number of kinds
)

var names = [kinds]string{
	"unknown", "config", "auth", "not_found", "throttled", "not_yet", "transient", "truncated", "corrupt",
	"oversize", "in_doubt", "overlap", "unavailable", "crash", "bug", "canceled",
}

// String returns the kind's name as it stands in logs, the ledger and ErrorInfo.reason.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind is the inverse of String; an unknown name is Unknown, so that an older host can read a newer plugin's error.
func ParseKind(name string) Kind {
	for i, n := range names {
		if n == name {
			return Kind(i)
		}
	}
	return Unknown
}

// Kinds lists every kind, for tables that must be complete.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is an error with the decision it asks for. The zero RetryAfter means that the caller's own backoff applies.
type Error struct {
	Kind       Kind
	Op         string        // what was being done: "download log 1234", "commit slice"
	RetryAfter time.Duration // not before this long, if positive
	Hint       string        // what the operator can do next; never a secret
	Err        error         // the cause
}

// New returns an *Error of the given kind. err must not be nil.
func New(kind Kind, op, hint string, err error) *Error {
	return &Error{Kind: kind, Op: op, Hint: hint, Err: err}
}

// Errorf returns an *Error of the given kind without a hint; the format is fmt.Errorf's.
func Errorf(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// WithHint sets the hint and returns e.
func (e *Error) WithHint(hint string) *Error {
	e.Hint = hint
	return e
}

// After sets RetryAfter and returns e.
func (e *Error) After(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

// Error returns the operation and the cause, without the hint.
func (e *Error) Error() string {
	switch {
	case e.Op == "" && e.Err == nil:
		return e.Kind.String()
	case e.Op == "":
		return e.Err.Error()
	case e.Err == nil:
		return e.Op + ": " + e.Kind.String()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost *Error in err's chain. Without one, a context's end is Canceled, a cut
// stream (io.ErrUnexpectedEOF) and a passed deadline are Transient, and everything else is Unknown. KindOf(nil) is Unknown.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded):
		return Transient
	}
	return Unknown
}

// HintOf returns the outermost hint that isn't empty.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// RetryAfterOf returns the longest RetryAfter in err's chain, zero without one.
func RetryAfterOf(err error) time.Duration {
	var longest time.Duration
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			break
		}
		longest = max(longest, e.RetryAfter)
		err = e.Err
	}
	return longest
}
