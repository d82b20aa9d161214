package pipeline

import (
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestAHorizonIsNoFinerThanTheVendorsClock(t *testing.T) {
	date := time.Date(2026, 11, 4, 10, 0, 7, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		reading time.Time
		later   time.Duration
		want    time.Time
	}{
		{"seconds, at once", date, 0, date},
		{"seconds, a moment later", date, 3 * time.Millisecond, date},
		{"seconds, one later", date, 1200 * time.Millisecond, date.Add(time.Second)},
		{"milliseconds", date.Add(250 * time.Millisecond), 3 * time.Millisecond, date.Add(253 * time.Millisecond)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var since time.Duration
			c := &vendorClock{now: time.Now, since: func() time.Duration { return since }}
			c.set(tt.reading)
			since += tt.later
			if got, want := c.horizon(5*time.Minute), tt.want.Add(-5*time.Minute); !got.Equal(want) {
				t.Errorf("horizon %s, want %s", got, want)
			}
		})
	}
}

func TestASliceThatIsNotClosedYetIsNotAskedForAgainAtOnce(t *testing.T) {
	c := Config{Attempts: 8, MaxBackoff: time.Minute}
	for after, want := range map[time.Duration]time.Duration{0: time.Second, 3 * time.Millisecond: time.Second, time.Minute: time.Minute} {
		v := c.decide(fault.Errorf(fault.NotYet, "read", "it is open").After(after), 1)
		if v.action != actWait || v.wait != want || v.charged {
			t.Errorf("after %s: waits %s, charged %v, want %s", after, v.wait, v.charged, want)
		}
	}
}
