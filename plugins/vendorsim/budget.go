package vendorsim

import (
	"sync"
	"time"
)

// meter counts one key's use of one namespace of the API.
type meter struct {
	budget Budget
	mono   func() time.Duration

	mu       sync.Mutex
	requests []time.Duration // when each request that still counts arrived
	bytes    []spent         // what was served and still counts, oldest first
	sum      int64           // of bytes
	peak     int64           // most requests that ever counted at once
	beyond   int64           // requests refused because the budget was used up
	over     int64           // most bytes that ever counted beyond the budget
}

// spent is bytes served from first to last; they stop counting a window after last.
type spent struct {
	first, last time.Duration
	n           int64
}

// standing is what is left of a budget.
type standing struct {
	requests, bytes int64
	reset           time.Duration // until something is given back (a fixed window: until it ends)
	retry           time.Duration // until a request may pass; 0: now
}

// expire forgets what no longer counts.
func (m *meter) expire(now time.Duration) {
	gone := func(t time.Duration) bool { return now-t >= m.budget.Window }
	if m.budget.Fixed {
		start := now.Truncate(m.budget.Window)
		gone = func(t time.Duration) bool { return t < start }
	}
	for len(m.requests) > 0 && gone(m.requests[0]) {
		m.requests = m.requests[1:]
	}
	for len(m.bytes) > 0 && gone(m.bytes[0].last) {
		m.sum -= m.bytes[0].n
		m.bytes = m.bytes[1:]
	}
}

// admit counts a request, or refuses it because requests or bytes are used up.
func (m *meter) admit() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.mono()
	m.expire(now)
	if int64(len(m.requests)) >= m.budget.Requests || m.sum >= m.budget.Bytes {
		m.beyond++
		return false
	}
	m.requests = append(m.requests, now)
	m.peak = max(m.peak, int64(len(m.requests)))
	return true
}

// serve counts n bytes sent now. An answer that has begun is served whole, also beyond the budget.
func (m *meter) serve(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.mono()
	m.expire(now)
	m.sum += n
	m.over = max(m.over, m.sum-m.budget.Bytes)
	if l := len(m.bytes) - 1; l >= 0 && now-m.bytes[l].first < m.budget.Window/1024 {
		m.bytes[l].last = now
		m.bytes[l].n += n
		return
	}
	m.bytes = append(m.bytes, spent{now, now, n})
}

func (m *meter) standing() standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.mono()
	m.expire(now)
	st := standing{
		requests: m.budget.Requests - int64(len(m.requests)),
		bytes:    max(0, m.budget.Bytes-m.sum),
		reset:    m.budget.Window,
	}
	ends := func(t time.Duration) time.Duration {
		if m.budget.Fixed {
			return m.budget.Window - now%m.budget.Window
		}
		return t + m.budget.Window - now
	}
	if m.budget.Fixed {
		st.reset = ends(0)
	} else {
		if len(m.requests) > 0 {
			st.reset = ends(m.requests[0])
		}
		if len(m.bytes) > 0 {
			st.reset = min(st.reset, ends(m.bytes[0].last))
		}
	}
	if st.requests == 0 {
		st.retry = m.budget.Window
		if len(m.requests) > 0 {
			st.retry = ends(m.requests[0])
		}
	}
	sum := m.sum
	for _, s := range m.bytes {
		if sum < m.budget.Bytes {
			break
		}
		sum -= s.n
		st.retry = max(st.retry, ends(s.last))
	}
	return st
}

// seconds rounds up: a client that waits that long is never early.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}
