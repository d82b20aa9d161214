package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestEveryKindSurvivesTheWire(t *testing.T) {
	for _, kind := range fault.Kinds() {
		if _, ok := codeOf[kind]; !ok {
			t.Errorf("kind %s has no code", kind)
		}
		in := fault.New(kind, "download log 12", "look at the region", errors.New("HTTP 401")).After(1500 * time.Millisecond)
		out := FromStatus(ToStatus(in))
		if got := fault.KindOf(out); got != kind {
			t.Errorf("%s came as %s", kind, got)
		}
		if out.Error() != in.Error() || fault.HintOf(out) != in.Hint || fault.RetryAfterOf(out) != in.RetryAfter {
			t.Errorf("%s: got %q, hint %q, retry %s", kind, out, fault.HintOf(out), fault.RetryAfterOf(out))
		}
		var e *fault.Error
		if !errors.As(out, &e) || e.Op != in.Op {
			t.Errorf("%s: operation %q", kind, e.Op)
		}
	}
}

func TestFromStatus(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want fault.Kind
		is   error
	}{
		{"lost connection", status.Error(codes.Unavailable, "connection refused"), fault.Crash, nil},
		{"too long", status.Error(codes.ResourceExhausted, "received message larger than max"), fault.Crash, nil},
		{"canceled", status.Error(codes.Canceled, "context canceled"), fault.Canceled, context.Canceled},
		{"deadline", status.Error(codes.DeadlineExceeded, "deadline"), fault.Transient, context.DeadlineExceeded},
		{"early end", io.EOF, fault.Crash, io.ErrUnexpectedEOF},
		{"plain", errors.New("x"), fault.Unknown, nil},
		{"classified already", fault.Errorf(fault.Auth, "a", "b"), fault.Auth, nil},
		{"canceled by us", ToStatus(fmt.Errorf("read: %w", context.Canceled)), fault.Canceled, context.Canceled},
		{"kind of the future", func() error {
			st, _ := status.New(codes.Internal, "x").WithDetails(&errdetails.ErrorInfo{Domain: "sluice", Reason: "from_the_future"})
			return st.Err()
		}(), fault.Unknown, nil},
		{"someone else's domain", func() error {
			st, _ := status.New(codes.NotFound, "x").WithDetails(&errdetails.ErrorInfo{Domain: "acme", Reason: "auth"})
			return st.Err()
		}(), fault.NotFound, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := FromStatus(tt.err)
			if fault.KindOf(got) != tt.want {
				t.Errorf("kind %s, want %s", fault.KindOf(got), tt.want)
			}
			if tt.is != nil && !errors.Is(got, tt.is) {
				t.Errorf("%v doesn't wrap %v", got, tt.is)
			}
		})
	}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		if _, ok := kindOf[c]; !ok {
			t.Errorf("code %s has no kind", c)
		}
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil {
		t.Error("nil doesn't stay nil")
	}
	if got := status.Code(FromStatus(status.Error(codes.Unimplemented, "no clock"))); got != codes.Unimplemented {
		t.Errorf("the code is lost: %s", got)
	}
}

func TestStatusIsBounded(t *testing.T) {
	in := fault.New(fault.Corrupt, strings.Repeat("ö", 9999), strings.Repeat("日", 9999), errors.New(strings.Repeat("\xff", 99999)))
	st, _ := status.FromError(ToStatus(in))
	if n := proto.Size(st.Proto()); n > 6<<10 {
		t.Errorf("status of %d bytes", n)
	}
	if !utf8.ValidString(st.Message()) {
		t.Error("the message isn't UTF-8")
	}
	wrapped := ToStatus(fmt.Errorf("slice 1: %w", fault.Errorf(fault.Auth, "get", "401")))
	if got := FromStatus(wrapped).Error(); got != "slice 1: get: 401" {
		t.Errorf("a wrapped error reads %q", got)
	}
	violation, _ := status.New(codes.InvalidArgument, "bad settings").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "region", Description: "unknown"}},
	})
	if got := FromStatus(violation.Err()).Error(); got != "bad settings; region: unknown" {
		t.Errorf("a bad request reads %q", got)
	}
}
