package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestKindNamesRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range fault.Kinds() {
		name := k.String()
		if name == "" || seen[name] {
			t.Errorf("kind %d: name %q is empty or taken", k, name)
		}
		seen[name] = true
		if got := fault.ParseKind(name); got != k {
			t.Errorf("ParseKind(%q) = %v, want %v", name, got, k)
		}
	}
	if got := fault.ParseKind("from the future"); got != fault.Unknown {
		t.Errorf("ParseKind of an unknown name = %v, want unknown", got)
	}
}

func TestKindOf(t *testing.T) {
	inner := fault.New(fault.Throttled, "get", "wait", errors.New("429")).After(time.Minute)
	tests := []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"nil", nil, fault.Unknown},
		{"plain", errors.New("x"), fault.Unknown},
		{"canceled", fmt.Errorf("a: %w", context.Canceled), fault.Canceled},
		{"deadline", context.DeadlineExceeded, fault.Transient},
		{"cut", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), fault.Transient},
		{"wrapped", fmt.Errorf("slice: %w", inner), fault.Throttled},
		{"outermost wins", fault.New(fault.Auth, "check", "", inner), fault.Auth},
		{"classified cut", fault.New(fault.Corrupt, "read", "", io.ErrUnexpectedEOF), fault.Corrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.KindOf(tt.err); got != tt.want {
				t.Errorf("KindOf = %v, want %v", got, tt.want)
			}
		})
	}
	outer := fault.New(fault.Transient, "slice", "", fmt.Errorf("x: %w", inner))
	if got := fault.HintOf(outer); got != "wait" {
		t.Errorf("HintOf = %q, want the inner hint", got)
	}
	if got := fault.RetryAfterOf(outer); got != time.Minute {
		t.Errorf("RetryAfterOf = %v, want 1m", got)
	}
	if got := outer.Error(); got != "slice: x: get: 429" {
		t.Errorf("Error() = %q", got)
	}
}
