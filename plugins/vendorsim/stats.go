package vendorsim

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// Request is what the simulator saw of one request.
type Request struct {
	Number uint64 // from 1, in order of arrival
	Key    string // KeyName of the key shown, "" without one
	Method string
	Path   string // without /log_search
	Query  string // as sent

	Logs     []string // IDs asked for
	From, To int64    // what a download covers: half-open, Unix milliseconds, by the simulator's reading of `to`
	Limit    int64

	Status    int
	Lines     int64  // of the whole answer; what a fault keeps back is counted too
	Truncated bool   // more lines matched than limit
	Bytes     int64  // of the body, handed to the socket
	Encoding  string // "gzip" or ""
	Fault     string // name of the rule that fired
	Complete  bool   // the body was sent to its end and framed as complete

	Budgeted bool // counted against a budget
	Beyond   bool // came when the budget was used up

	Start, End time.Duration // on the simulator's monotonic clock; End is 0 while it runs
	At         time.Time     // Start by the simulator's wall clock

	// How long writes to the socket took in all, the longest of them, and the one that is waiting now: a client
	// that doesn't read makes them long.
	Blocked, LongestWrite, Waiting time.Duration
}

// Stats is what the simulator counted since it was made.
type Stats struct {
	Requests      int64 // all, also those without a key
	Budgeted      int64 // counted against a budget
	Beyond        int64 // came when a budget was used up: a client that keeps the budget has none
	BytesBeyond   int64 // most bytes by which a byte budget was ever exceeded
	Bytes         int64 // of bodies, handed to sockets
	Lines         int64
	Active        int
	MaxConcurrent int           // downloads at once
	LongestWrite  time.Duration // longest time a write to a socket was blocked, also one that still is
	KeysLeaked    int64         // requests with a key that reached the trap's origin, or with the owner's key anywhere
	Trapped       int64         // requests that reached the trap's origin
}

// KeyName is how a key is named in [Request]: 16 hex digits of its SHA-256, so that no log holds it.
func KeyName(key string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// journal keeps requests and sums.
type journal struct {
	mono func() time.Duration
	keep int

	mu        sync.Mutex
	number    uint64
	sums      Stats
	active    map[*exchange]struct{}
	downloads int
	done      []Request
}

// exchange is a request in progress.
type exchange struct {
	journal *journal

	mu       sync.Mutex
	r        Request
	writing  bool
	began    time.Duration // of the current write
	download bool
}

func (j *journal) begin(r Request) *exchange {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.number++
	j.sums.Requests++
	r.Number = j.number
	r.Start = j.mono()
	x := &exchange{journal: j, r: r}
	if j.active == nil {
		j.active = make(map[*exchange]struct{})
	}
	j.active[x] = struct{}{}
	return x
}

// update changes the request's record.
func (x *exchange) update(f func(*Request)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.r)
}

// leak counts a request with a secret where none may be.
func (j *journal) leak() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sums.KeysLeaked++
}

func (x *exchange) beginDownload() {
	j := x.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	x.download = true
	j.downloads++
	j.sums.MaxConcurrent = max(j.sums.MaxConcurrent, j.downloads)
}

func (x *exchange) beginWrite() {
	now := x.journal.mono()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.writing, x.began = true, now
}

func (x *exchange) endWrite(n int) {
	now := x.journal.mono()
	x.mu.Lock()
	defer x.mu.Unlock()
	took := now - x.began
	x.writing = false
	x.r.Bytes += int64(n)
	x.r.Blocked += took
	x.r.LongestWrite = max(x.r.LongestWrite, took)
}

// snapshot shows the request as it is now, a write in progress included.
func (x *exchange) snapshot() Request {
	now := x.journal.mono()
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.r
	r.Logs = slices.Clone(r.Logs)
	if x.writing {
		r.Waiting = now - x.began
		r.LongestWrite = max(r.LongestWrite, r.Waiting)
		r.Blocked += r.Waiting
	}
	return r
}

func (x *exchange) end() Request {
	j := x.journal
	x.update(func(r *Request) { r.End = max(1, j.mono()) })
	r := x.snapshot()
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.active, x)
	if x.download {
		j.downloads--
	}
	j.sums.add(r)
	if len(j.done) >= j.keep {
		// Dropping a tenth at once keeps the cost of a full log small.
		j.done = append(j.done[:0], j.done[len(j.done)-j.keep*9/10:]...)
	}
	j.done = append(j.done, r)
	return r
}

// add counts what belongs to one request.
func (s *Stats) add(r Request) {
	if r.Budgeted {
		s.Budgeted++
	}
	s.Bytes += r.Bytes
	s.Lines += r.Lines
	s.LongestWrite = max(s.LongestWrite, r.LongestWrite)
}

// Requests returns the finished requests (the last Options.RequestLog of them) in the order they ended.
func (s *Sim) Requests() []Request {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.done)
}

// Active returns the requests in progress in order of arrival. Waiting says how long each is blocked by a client
// that doesn't read.
func (s *Sim) Active() []Request {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Request, 0, len(j.active))
	for x := range j.active {
		out = append(out, x.snapshot())
	}
	slices.SortFunc(out, func(a, b Request) int { return int(a.Number) - int(b.Number) })
	return out
}

// Stats returns the sums, requests in progress included.
func (s *Sim) Stats() Stats {
	active := s.Active()
	j := &s.journal
	j.mu.Lock()
	out := j.sums
	j.mu.Unlock()
	out.Active = len(active)
	for _, r := range active {
		out.add(r)
	}
	for _, m := range s.allMeters() {
		m.mu.Lock()
		out.Beyond += m.beyond
		out.BytesBeyond = max(out.BytesBeyond, m.over)
		m.mu.Unlock()
	}
	return out
}

// MaxRequests returns the most downloads of a key that arrived within any window of that length, refused ones
// included, among the requests that the log still holds.
func (s *Sim) MaxRequests(key string, window time.Duration) int {
	name := KeyName(key)
	var starts []time.Duration
	for _, r := range append(s.Requests(), s.Active()...) {
		if r.Key == name && isDownload(r.Path) && (r.Budgeted || r.Beyond) {
			starts = append(starts, r.Start)
		}
	}
	slices.Sort(starts)
	most, first := 0, 0
	for i, t := range starts {
		for t-starts[first] >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
