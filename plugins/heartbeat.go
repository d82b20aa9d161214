package plugins

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// maxReason bounds in bytes what a source says about waiting and dead letters.
const maxReason = 512

// beat repeats what the read waits for as long as it is silent, until ctx ends: silence of 30 s counts as a hang.
func (e *emitter) beat(ctx context.Context, silence time.Duration) {
	ticker := time.NewTicker(max(silence/5, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if msg := e.pulse(now, silence); msg != nil && e.mu.TryLock() { // locked: something is being sent
				// An error of the stream shows at the next send of the source or when ctx ends.
				_ = e.writeLocked(&v1.ReadResponse{Message: &v1.ReadResponse_Waiting{Waiting: msg}})
				e.mu.Unlock()
			}
		}
	}
}

// pulse returns what to say after a time of silence, nil if it hasn't been silent for long.
func (e *emitter) pulse(now time.Time, silence time.Duration) *v1.Waiting {
	e.state.Lock()
	defer e.state.Unlock()
	switch {
	case now.Sub(e.lastSent) < silence:
		return nil
	case e.blocked:
		return &v1.Waiting{Why: "credit"}
	case e.waiting != nil:
		return e.waiting
	}
	return &v1.Waiting{Why: "vendor"}
}

// clip returns s as one line of valid UTF-8 of at most limit bytes.
func clip(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\n", " ")
}
