package pipeline

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestWhatIsTriedAgainBeforeAnythingIsRead(t *testing.T) {
	c := &Config{Attempts: 3, MaxBackoff: time.Millisecond}
	for _, tt := range []struct {
		kind     fault.Kind
		failures int
		after    time.Duration
		charged  bool
		again    bool
	}{
		{fault.Transient, 1, 0, true, true},
		{fault.Transient, 2, time.Minute, true, true},
		{fault.Transient, 3, 0, false, false},
		{fault.Throttled, 9, time.Minute, false, true},
		{fault.Config, 1, 0, false, false},
		{fault.Auth, 1, 0, false, false},
		{fault.NotFound, 1, 0, false, false},
		{fault.Crash, 1, 0, false, false},
		{fault.Unknown, 1, 0, false, false},
	} {
		wait, charged, again := c.Again(fault.New(tt.kind, "start", "", errors.New("x")).After(tt.after), tt.failures)
		if charged != tt.charged || again != tt.again || wait < tt.after || again != (wait > 0) {
			t.Errorf("%v, %d failures: wait %v, charged %t, again %t", tt.kind, tt.failures, wait, charged, again)
		}
	}
}
