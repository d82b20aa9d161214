package rest

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/plugins"
)

// A number this large is no count of seconds to wait but a moment since 1970, in seconds or milliseconds.
const (
	epochSeconds = 1e9
	epochMillis  = 1e12
)

// bound is the longest wait that is believed: a day, or two windows if that is more.
func bound(window time.Duration) time.Duration { return max(24*time.Hour, 2*window) }

func dateOf(h http.Header) (time.Time, bool) {
	t, err := http.ParseTime(h.Get("Date"))
	return t.UTC(), err == nil
}

// serverTime is what moments in headers are relative to: the answer's own Date, so that a wrong clock on either side
// doesn't matter.
func (c *Client) serverTime(date time.Time) time.Time {
	if date.IsZero() {
		return c.opts.Now()
	}
	return date
}

// retryAfter reads Retry-After: seconds, an HTTP date, or a moment since 1970. Past moments mean now.
func retryAfter(h http.Header, now time.Time) (d time.Duration, ok bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	if d, ok := wait(text, now); ok {
		return d, true
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// wait reads seconds from now or a moment since 1970.
func wait(text string, now time.Time) (time.Duration, bool) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) {
		return 0, false
	}
	switch {
	case n >= epochMillis:
		n = n/1000 - float64(now.UnixMilli())/1000
	case n > epochSeconds:
		n -= float64(now.UnixMilli()) / 1000
	}
	const longest = float64(math.MaxInt64 / int64(time.Second))
	return time.Duration(min(max(0, n), longest-1) * float64(time.Second)), true
}

// vendorBudget reads the vendor's own count of its limits. Waits beyond most are cut to it.
func vendorBudget(h http.Header, now time.Time, most time.Duration) plugins.VendorBudget {
	b := plugins.VendorBudget{
		LimitRequests:     count(h, "X-RateLimit-Limit"),
		RemainingRequests: count(h, "X-RateLimit-Remaining"),
		LimitBytes:        count(h, "R7-RateLimit-LimitBytes"),
		RemainingBytes:    count(h, "R7-RateLimit-RemainingBytes"),
	}
	if reset, ok := wait(strings.TrimSpace(h.Get("X-RateLimit-Reset")), now); ok {
		b.Reset = min(reset, most)
	}
	if after, ok := retryAfter(h, now); ok {
		b.RetryAfter = min(after, most)
	}
	return b
}

// count reads a number that isn't negative; nil for anything else.
func count(h http.Header, name string) *uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(h.Get(name)), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}
