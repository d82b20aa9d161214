package budget

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// dateMargin is what is taken off a difference of the vendor's Dates: they are whole seconds, come late, and its servers differ.
const dateMargin = 5 * time.Second

// reservation is what was granted and may still count. It is never changed once it is in a space: a changed copy takes its place
// after it was stored.
type reservation struct {
	id, owner       string
	requests, bytes uint64
	window          time.Duration // for which it is kept at least
	started         time.Duration

	sent         uint64         // requests that are known to have been sent
	headers      *time.Duration // from when the requests' window runs; nil: open
	ended        *time.Duration // from when the bytes' window runs; nil: open
	vendorMillis int64          // the vendor's clock at the end; 0: not known
	carried      bool           // from another boot: stamps are assumed, not measured

	blocks []block // of bytes, while it is open
}

// block is one grant of bytes. used is when more was asked for: by then its bytes had come.
type block struct {
	bytes uint64
	used  *time.Duration
}

// end closes what is open now.
func (r *reservation) end(now time.Duration) {
	if r.headers == nil {
		r.headers = &now
	}
	if r.ended == nil {
		r.ended = &now
	}
	r.blocks = nil
}

// over reports whether a reservation counts no more in any window up to longest.
func (r *reservation) over(now, longest time.Duration) bool {
	if r.headers == nil || r.ended == nil {
		return false
	}
	window := max(r.window, longest)
	return (r.requests == 0 || now >= *r.headers+window) && (r.bytes == 0 || now >= *r.ended+window)
}

// limits are one user's, as given and after share.
type limits struct {
	requests, bytes uint64 // 0: not limited
	share           float64
	window          time.Duration
}

// Allowed is what a share of a limit comes to: rounded down, at least 1. 0, no limit, stays 0.
func Allowed(limit uint64, share float64) uint64 { return allowed(limit, share) }

// allowed applies a share: rounded down, at least 1. What is just below a whole number by the rounding of floats counts as whole.
func allowed(limit uint64, share float64) uint64 {
	if limit == 0 {
		return 0
	}
	return min(limit, max(1, uint64(math.Floor(float64(limit)*share+1e-9))))
}

// view is what the vendor last said. Pointers are nil and times past where nothing holds.
type view struct {
	blocked time.Duration // nothing may be asked before

	limitRequests, limitBytes *uint64
	limitUntil                time.Duration

	remainingRequests, remainingBytes *uint64 // less what was granted since
	reset                             time.Duration

	at           time.Duration // when the latest of it was said
	vendorMillis int64         // the vendor's clock then; 0: not known
	carried      bool          // from another boot
}

// space is one namespace of a key.
type space struct {
	key, namespace string
	users          map[string]limits // by owner
	reservations   map[string]*reservation
	view           view
	shown          limits // after share: what applied last, for people
	moved          bool   // the view was brought into this boot and isn't stored yet

	offset    int64 // the vendor's clock less the boot clock, in milliseconds: the highest seen, as answers only come late
	hasOffset bool
}

func (s *space) longest() time.Duration {
	longest := s.shown.window
	for _, u := range s.users {
		longest = max(longest, u.window)
	}
	return longest
}

// vendorNow returns the vendor's clock in milliseconds, 0 if it isn't known.
func (s *space) vendorNow(now time.Duration) int64 {
	if !s.hasOffset {
		return 0
	}
	return s.offset + now.Milliseconds()
}

// observe learns the vendor's clock and moves the stamps of other boots back by what it proves to have passed.
func (s *space) observe(now time.Duration, vendor time.Time) {
	if vendor.IsZero() {
		return
	}
	offset := vendor.UnixMilli() - now.Milliseconds()
	if s.hasOffset && offset <= s.offset {
		return
	}
	s.offset, s.hasOffset = offset, true
	since := func(millis int64) time.Duration { // the latest moment of this boot that the stamp can be of
		passed := time.Duration(s.vendorNow(now)-millis)*time.Millisecond - dateMargin
		return now - max(0, passed)
	}
	for id, r := range s.reservations {
		if !r.carried || r.vendorMillis == 0 {
			continue
		}
		moved := *r
		headers, ended := min(*r.headers, since(r.vendorMillis)), min(*r.ended, since(r.vendorMillis))
		moved.headers, moved.ended = &headers, &ended
		s.reservations[id] = &moved
	}
	if v := &s.view; v.carried && v.vendorMillis != 0 {
		if shift := v.at - since(v.vendorMillis); shift > 0 {
			v.at, v.blocked, v.limitUntil, v.reset = v.at-shift, v.blocked-shift, v.limitUntil-shift, v.reset-shift
		}
	}
}

// effective returns a user's limits after the vendor's own and the share.
func (s *space) effective(u limits, now time.Duration) limits {
	if now < s.view.limitUntil {
		lower := func(ours uint64, theirs *uint64) uint64 {
			if theirs != nil && ours > 0 {
				return min(ours, *theirs)
			}
			return ours
		}
		u.requests, u.bytes = lower(u.requests, s.view.limitRequests), lower(u.bytes, s.view.limitBytes)
	}
	u.requests, u.bytes = allowed(u.requests, u.share), allowed(u.bytes, u.share)
	return u
}

// charge is an amount that counts until a moment, or, if that is nil, until something is settled.
type charge struct {
	amount uint64
	until  *time.Duration
}

func until(from *time.Duration, window time.Duration) *time.Duration {
	if from == nil {
		return nil
	}
	end := *from + window
	return &end
}

func (s *space) requestCharges(window time.Duration) []charge {
	all := make([]charge, 0, len(s.reservations))
	for _, r := range s.reservations {
		all = append(all, charge{r.requests, until(r.headers, window)})
	}
	return all
}

// byteCharges leaves the blocks of own, an open answer that asks for more, their own windows: see the package's comment.
func (s *space) byteCharges(window time.Duration, own *reservation) []charge {
	all := make([]charge, 0, len(s.reservations))
	for _, r := range s.reservations {
		if own == nil || r.id != own.id {
			all = append(all, charge{r.bytes, until(r.ended, window)})
			continue
		}
		for _, b := range own.blocks {
			all = append(all, charge{b.bytes, until(b.used, window)})
		}
	}
	return all
}

func used(charges []charge, now time.Duration) uint64 {
	var sum uint64
	for _, c := range charges {
		if c.until == nil || now < *c.until {
			sum = add(sum, c.amount)
		}
	}
	return sum
}

// wait returns how long it takes until amount fits a limit, 0 if it does now. What is open may be settled at any time: then the
// answer is a fraction of the window.
func wait(charges []charge, now time.Duration, amount, limit uint64, window time.Duration) time.Duration {
	sum := add(used(charges, now), amount)
	if limit == 0 || sum <= limit {
		return 0
	}
	slices.SortFunc(charges, func(a, b charge) int {
		switch {
		case a.until == nil || b.until == nil:
			return cmp.Compare(btoi(a.until == nil), btoi(b.until == nil))
		default:
			return cmp.Compare(*a.until, *b.until)
		}
	})
	for _, c := range charges {
		if c.until == nil {
			break
		}
		if now >= *c.until {
			continue
		}
		if sum -= min(sum, c.amount); sum <= limit {
			return *c.until - now
		}
	}
	return min(max(window/64, time.Millisecond), 15*time.Second)
}

// refusal is why a request can't be granted now, and for how long not.
type refusal struct {
	wait time.Duration
	why  string
}

// check returns the longest refusal, nil if all counts allow the amounts. own is the open reservation that asks for more bytes.
func (s *space) check(now time.Duration, requests, bytes uint64, own *reservation) *refusal {
	var worst *refusal
	refuse := func(d time.Duration, why string) {
		if d > 0 && (worst == nil || d > worst.wait) {
			worst = &refusal{d, why}
		}
	}
	if requests > 0 { // an answer that is open may end
		refuse(s.view.blocked-now, WhyVendor)
	}
	for _, u := range s.users {
		u = s.effective(u, now)
		if u.requests > 0 && requests > 0 {
			refuse(wait(s.requestCharges(u.window), now, requests, u.requests, u.window), WhyRequests)
		}
		if u.bytes > 0 && bytes > 0 {
			refuse(wait(s.byteCharges(u.window, own), now, min(bytes, u.bytes), u.bytes, u.window), WhyBytes)
		}
	}
	if v := &s.view; now < v.reset {
		if v.remainingRequests != nil && requests > *v.remainingRequests {
			refuse(v.reset-now, WhyVendor)
		}
		if v.remainingBytes != nil && bytes > *v.remainingBytes {
			refuse(v.reset-now, WhyVendor)
		}
	}
	return worst
}

// longestWait is the longest that a vendor may ask to wait, unless two windows are longer. Plugins that use plugins/rest believe no more either.
const longestWait = 24 * time.Hour

// said applies what the vendor said in an answer of the reservation r (as it is after that answer).
func (s *space) said(v view, now time.Duration, r *reservation, said Vendor) view {
	window := s.longest()
	// Longer than a window is obeyed, too: the vendor's own window may be longer than the settings'. A slip of its isn't, such as a date for a duration.
	atMost := func(d time.Duration) time.Duration { return min(d, max(longestWait, 2*window)) }
	changed := false
	if said.RetryAfter > 0 {
		v.blocked, changed = max(v.blocked, now+atMost(said.RetryAfter)), true
	}
	if positive(said.LimitRequests) || positive(said.LimitBytes) {
		if now >= v.limitUntil {
			v.limitRequests, v.limitBytes = nil, nil
		}
		if positive(said.LimitRequests) {
			v.limitRequests = said.LimitRequests
		}
		if positive(said.LimitBytes) {
			v.limitBytes = said.LimitBytes
		}
		v.limitUntil, changed = now+max(window, atMost(said.Reset)), true
	}
	if said.RemainingRequests != nil || said.RemainingBytes != nil {
		requests, bytes := s.inFlight(r)
		v.remainingRequests, v.remainingBytes = less(said.RemainingRequests, requests), less(said.RemainingBytes, bytes)
		v.reset, changed = now+window, true
		if said.Reset > 0 {
			v.reset = now + atMost(said.Reset)
		}
	}
	if changed {
		v.at, v.vendorMillis, v.carried = now, s.vendorNow(now), false
	}
	return v
}

// inFlight is what may not have reached the vendor's count yet: requests without an answer and blocks that are being used.
func (s *space) inFlight(r *reservation) (requests, bytes uint64) {
	count := func(r *reservation) {
		if r.headers == nil {
			requests = add(requests, r.requests-min(r.requests, r.sent))
		}
		if n := len(r.blocks); r.ended == nil && n > 0 {
			bytes = add(bytes, r.blocks[n-1].bytes)
		}
	}
	for _, other := range s.reservations {
		if other.id != r.id {
			count(other)
		}
	}
	count(r)
	return requests, bytes
}

func positive(n *uint64) bool { return n != nil && *n > 0 }

func less(n *uint64, by uint64) *uint64 {
	if n == nil {
		return nil
	}
	left := *n - min(*n, by)
	return &left
}

// add saturates: counts are never small because they were too large.
func add(a, b uint64) uint64 {
	if a > math.MaxInt64 || b > math.MaxInt64 || a+b > math.MaxInt64 {
		return math.MaxInt64 // the largest that the tables hold
	}
	return a + b
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
