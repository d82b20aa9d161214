package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-io/sluice/proto/fault"
)

// errorDomain is ErrorInfo's domain of our kinds.
const errorDomain = "sluice"

// Bounds of what a status carries: it travels in HTTP/2 trailers, which some implementations limit to 8 KiB, message twice.
const (
	maxErrorText = 1536
	maxErrorHint = 512
	maxErrorOp   = 256
)

// codeOf is the gRPC code that each kind travels under. ErrorInfo's reason decides; the code serves readers that don't
// know the reasons.
var codeOf = map[fault.Kind]codes.Code{
	fault.Unknown:     codes.Unknown,
	fault.Config:      codes.InvalidArgument,
	fault.Auth:        codes.Unauthenticated,
	fault.NotFound:    codes.NotFound,
	fault.Throttled:   codes.ResourceExhausted,
	fault.NotYet:      codes.FailedPrecondition,
	fault.Transient:   codes.Unavailable,
	fault.Truncated:   codes.OutOfRange,
	fault.Corrupt:     codes.DataLoss,
	fault.Oversize:    codes.OutOfRange,
	fault.InDoubt:     codes.Unknown,
	fault.Overlap:     codes.AlreadyExists,
	fault.Unavailable: codes.NotFound,
	fault.Crash:       codes.Internal,
	fault.Bug:         codes.Internal,
	fault.Canceled:    codes.Canceled,
}

// kindOf is what a status without our ErrorInfo means: it comes from gRPC itself or from a plugin that doesn't classify.
var kindOf = map[codes.Code]fault.Kind{
	codes.Canceled:           fault.Canceled,
	codes.Unknown:            fault.Unknown,
	codes.InvalidArgument:    fault.Config,
	codes.DeadlineExceeded:   fault.Transient,
	codes.NotFound:           fault.NotFound,
	codes.AlreadyExists:      fault.Overlap,
	codes.PermissionDenied:   fault.Auth,
	codes.ResourceExhausted:  fault.Crash, // gRPC's answer to a message beyond the limit
	codes.FailedPrecondition: fault.Config,
	codes.Aborted:            fault.Transient,
	codes.OutOfRange:         fault.Unknown,
	codes.Unimplemented:      fault.Bug,
	codes.Internal:           fault.Crash, // gRPC's answer to what it can't read
	codes.Unavailable:        fault.Crash, // the connection is lost: the process has gone
	codes.DataLoss:           fault.Corrupt,
	codes.Unauthenticated:    fault.Auth,
}

// ToStatus returns err as an error with a gRPC status that a server may return: ErrorInfo carries kind, operation and hint,
// RetryInfo the time to wait. Texts are cut to valid UTF-8 of a bounded length. nil gives nil, and an error that already
// is a status without a fault in it stays.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var fe *fault.Error
	if !errors.As(err, &fe) {
		if _, ok := status.FromError(err); ok {
			return err
		}
	}
	kind := fault.KindOf(err)
	info := &errdetails.ErrorInfo{Domain: errorDomain, Reason: kind.String(), Metadata: map[string]string{}}
	if fe != nil && fe.Op != "" {
		info.Metadata["op"] = bounded(fe.Op, maxErrorOp)
	}
	if hint := fault.HintOf(err); hint != "" {
		info.Metadata["hint"] = bounded(hint, maxErrorHint)
	}
	details := []protoadapt.MessageV1{info}
	if wait := fault.RetryAfterOf(err); wait > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	st := status.New(codeOf[kind], bounded(err.Error(), maxErrorText))
	with, derr := st.WithDetails(details...)
	if derr != nil { // only for the code OK, which no kind has
		return st.Err()
	}
	return with.Err()
}

// FromStatus returns what a gRPC call's error means as a *fault.Error, which still wraps the status. A lost connection is
// a Crash, a canceled call wraps context.Canceled and a passed deadline context.DeadlineExceeded. io.EOF, which only a
// stream's reader may see, becomes io.ErrUnexpectedEOF under Crash: no answer ends without its last message. nil gives nil.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	var fe *fault.Error
	if errors.As(err, &fe) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Crash, "", "", fmt.Errorf("the plugin's answer ended early: %w", io.ErrUnexpectedEOF))
	}
	st, ok := status.FromError(err)
	if !ok {
		return fault.New(fault.KindOf(err), "", "", err)
	}
	e := &fault.Error{}
	known := false
	text := bounded(st.Message(), 4*maxErrorText)
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != errorDomain {
				continue
			}
			known = true
			e.Kind = fault.ParseKind(d.GetReason())
			e.Op = bounded(d.GetMetadata()["op"], 4*maxErrorOp)
			e.Hint = bounded(d.GetMetadata()["hint"], 4*maxErrorHint)
		case *errdetails.RetryInfo:
			if wait := d.GetRetryDelay(); wait.IsValid() && wait.AsDuration() > 0 {
				e.RetryAfter = wait.AsDuration()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				text = bounded(text+"; "+v.GetField()+": "+v.GetDescription(), 4*maxErrorText)
			}
		}
	}
	if !known {
		e.Kind = kindOf[st.Code()]
	}
	// The text begins with the operation unless someone wrapped the error; it must not be said twice.
	if rest, cut := strings.CutPrefix(text, e.Op+": "); cut && e.Op != "" {
		text = rest
	} else {
		e.Op = ""
	}
	e.Err = &remoteError{text: text, status: st, cause: causeOf(st.Code())}
	return e
}

func causeOf(c codes.Code) error {
	switch c {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return nil
}

// remoteError is an error that the other process had, as far as it told.
type remoteError struct {
	text   string
	status *status.Status
	cause  error
}

func (e *remoteError) Error() string {
	if e.text == "" {
		return e.status.Code().String()
	}
	return e.text
}

// GRPCStatus lets status.Code find the code.
func (e *remoteError) GRPCStatus() *status.Status { return e.status }

func (e *remoteError) Unwrap() error { return e.cause }

// bounded returns s as valid UTF-8 of at most limit bytes, with "..." where it was cut.
func bounded(s string, limit int) string {
	if len(s) > limit {
		cut := limit - len("...")
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
