// Package sending is what sinks have in common that send their records in requests: an HTTP client that keeps secrets where they belong,
// and patience with a receiver that is busy.
package sending

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sluice-io/sluice/proto/fault"
)

// Client returns an HTTP client; secured nil is the system's TLS settings. It follows no redirect, which would take headers, and so a
// token, elsewhere, and unpacks no answer.
func Client(secured *tls.Config) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = secured
	t.DisableCompression = true
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Pack returns a body compressed with gzip, as fast as it goes.
func Pack(body []byte) []byte {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // a level that there is
	_, _ = z.Write(body)                                 // a buffer takes everything
	_ = z.Close()
	return packed.Bytes()
}

// mostRetryAfter bounds what a receiver may ask for.
const mostRetryAfter = 24 * time.Hour

// RetryAfter reads the header of that name: seconds or a time. ok is false without one.
func RetryAfter(text string, now time.Time) (d time.Duration, ok bool) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, mostRetryAfter), true
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), mostRetryAfter), true
	}
	return 0, false
}

// Patience is how long a request is held back in all because the receiver is busy, before its slice gives up and comes again later.
const Patience = 30 * time.Second

// Pauses before a busy receiver is asked again, if it doesn't say when.
const firstPause, mostPause = 250 * time.Millisecond, 5 * time.Second

// Small is a size that every receiver takes. One that finds a request of this size too large isn't set up as it should be, and no record
// is to blame.
const Small = 4 << 10

// Busy tells a log that a receiver takes nothing, once a minute at most, so that nobody wonders why nothing happens. It is safe for
// concurrent use.
type Busy struct {
	Log *slog.Logger // the sink's; nil: it tells nobody

	mu   sync.Mutex
	told time.Time
}

// Told after a first moment, for short pauses are no news, and again after a longer one.
const firstTold, againTold = time.Second, time.Minute

// Tell says that the receiver is asked again after a pause, because of err; waited is how long the request has been held back by then.
func (b *Busy) Tell(waited, pause time.Duration, err error) {
	if b.Log == nil || waited < firstTold {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); b.told.IsZero() || now.Sub(b.told) >= againTold {
		b.told = now
		about := []any{"after", pause.Round(time.Millisecond).String(), "error", err.Error()}
		if hint := fault.HintOf(err); hint != "" {
			about = append(about, "hint", hint)
		}
		b.Log.Warn("the receiver takes nothing now and is asked again", about...)
	}
}

// Patiently sends a request, and again while the error is of kind fault.Throttled: when the receiver says, else with growing pauses. It
// gives up where that would take more than Patience, and returns what was answered last.
func Patiently[T any](ctx context.Context, busy *Busy, send func() (T, error)) (T, error) {
	var waited time.Duration
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		answer, err := send()
		wait := fault.RetryAfterOf(err)
		if wait <= 0 {
			wait = pause
		}
		if fault.KindOf(err) != fault.Throttled || waited+wait > Patience {
			return answer, err
		}
		waited += wait
		busy.Tell(waited, wait, err)
		if err := Sleep(ctx, wait); err != nil {
			return answer, fmt.Errorf("wait until the receiver takes more: %w", err)
		}
	}
}

// Sleep waits for a while or until ctx ends, which is an error.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
