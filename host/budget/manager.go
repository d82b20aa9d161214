package budget

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// Manager counts every use of every key of one state. All methods are safe for concurrent use.
type Manager struct {
	db    *sql.DB
	clock Clock
	boot  string

	mu     sync.Mutex // held while a change is stored: what is answered is on disk
	spaces map[spaceKey]*space
}

type spaceKey struct{ key, namespace string }

// Bounds of what an owner may ask for: one beyond them is a mistake or an attack, and what it names would be kept for as long as it says.
const (
	maxName   = 256                 // bytes of a key's name, and of a namespace
	maxSpaces = 64                  // namespaces of keys that one owner uses
	maxWindow = 31 * 24 * time.Hour // no vendor's is longer than a month
)

// New returns a Manager over the tables of a ledger's database, which it doesn't close. There may be one at a time: what the one
// before left open counts in full from now. A nil clock is the machine's.
func New(db *sql.DB, clock Clock) (*Manager, error) {
	if clock == nil {
		var err error
		if clock, err = SystemClock(); err != nil {
			return nil, fmt.Errorf("budget: %w", err)
		}
	}
	m := &Manager{db: db, clock: clock, boot: clock.Boot(), spaces: map[spaceKey]*space{}}
	if err := m.load(context.Background()); err != nil {
		return nil, fmt.Errorf("budget: load: %w", err)
	}
	return m, nil
}

// Acquire answers at once: granted, and then on disk, or when to ask again. With a Reservation it tops up the bytes of that one. An
// error means that nothing was granted; one of kind Config that it never will be.
func (m *Manager) Acquire(ctx context.Context, q Request) (Grant, error) {
	u, err := q.limits()
	if err != nil {
		return Grant{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Grant{}, fmt.Errorf("budget %s: %w", q.Namespace, err)
	}
	if err := m.room(q); err != nil {
		return Grant{}, err
	}
	now := m.clock.Now()
	s := m.space(q.Key, q.Namespace)
	s.users[q.Owner] = u
	s.observe(now, q.VendorTime)

	var own *reservation
	if q.Reservation != "" {
		if own = s.reservations[q.Reservation]; own == nil || own.ended != nil {
			return Grant{}, fmt.Errorf("budget %s: top up %s: %w", q.Namespace, q.Reservation, ErrUnknownReservation)
		}
		own = own.askedForMore(now)
		s.reservations[own.id] = own // what was used stays used, whatever comes of this
	}
	if err := s.possible(q.Requests, now); err != nil {
		return Grant{}, err
	}
	if no := s.check(now, q.Requests, s.cap(q.Bytes, now), own); no != nil {
		return Grant{RetryAfter: no.wait, Why: no.why}, nil
	}
	granted := own.toppedUp(q.Bytes)
	if own == nil {
		granted = &reservation{
			id: rand.Text(), owner: q.Owner, requests: q.Requests, bytes: min(q.Bytes, math.MaxInt64), started: now,
			blocks: []block{{bytes: q.Bytes}},
		}
	}
	granted.window = max(granted.window, s.longest())
	v := s.view
	v.remainingRequests, v.remainingBytes = less(v.remainingRequests, q.Requests), less(v.remainingBytes, q.Bytes)
	if err := m.store(ctx, s, now, v, granted); err != nil {
		return Grant{}, fmt.Errorf("budget %s: reserve: %w", q.Namespace, err)
	}
	return Grant{Granted: true, Reservation: granted.id}, nil
}

// limits validates what a request claims.
func (q Request) limits() (limits, error) {
	if n := max(len(q.Key), len(q.Namespace)); n > maxName {
		return limits{}, fault.Errorf(fault.Bug, "budget", "a key's name or namespace of %d bytes, want at most %d", n, maxName).
			WithHint("the namespace is a word that the source chooses, such as \"download\": tell the plugin's author")
	}
	op := "budget " + q.Namespace
	share := q.Share
	if share == 0 {
		share = DefaultShare
	}
	switch {
	case math.IsNaN(share) || share < 0 || share > 1:
		return limits{}, fault.Errorf(fault.Config, op, "share is %v, want more than 0 and at most 1", q.Share)
	case (q.LimitRequests > 0 || q.LimitBytes > 0) && q.Window <= 0:
		return limits{}, fault.Errorf(fault.Config, op, "a limit needs a window")
	case q.Window > maxWindow:
		return limits{}, fault.Errorf(fault.Config, op, "a window of %s, want at most %s", q.Window, maxWindow).
			WithHint("lower the window of the budget's limits, and the limits with it")
	case q.Key == "" || q.Namespace == "":
		return limits{}, fault.Errorf(fault.Bug, op, "no key or namespace")
	case q.Reservation == "" && q.Requests == 0:
		return limits{}, fault.Errorf(fault.Bug, op, "a reservation without requests")
	case q.Reservation != "" && (q.Requests > 0 || q.Bytes == 0):
		return limits{}, fault.Errorf(fault.Bug, op, "only bytes can be topped up")
	}
	return limits{requests: q.LimitRequests, bytes: q.LimitBytes, share: share, window: q.Window}, nil
}

// room fails for an owner that would use more namespaces than one may.
func (m *Manager) room(q Request) error {
	if s := m.spaces[spaceKey{q.Key, q.Namespace}]; s != nil {
		if _, known := s.users[q.Owner]; known {
			return nil
		}
	}
	used := 0
	for _, s := range m.spaces {
		if _, ok := s.users[q.Owner]; ok {
			used++
		}
	}
	if used >= maxSpaces {
		return fault.Errorf(fault.Bug, "budget "+q.Namespace, "one plugin uses %d namespaces of keys already, want at most %d", used, maxSpaces).
			WithHint("a namespace is what the vendor counts together, not one request: tell the plugin's author")
	}
	return nil
}

// possible fails for a number of requests that no window ever allows.
func (s *space) possible(requests uint64, now time.Duration) error {
	for _, u := range s.users {
		if u = s.effective(u, now); u.requests > 0 && requests > u.requests {
			return fault.Errorf(fault.Config, "budget "+s.namespace, "%d requests at once, but only %d are allowed in %s",
				requests, u.requests, u.window).WithHint("raise `budget.requests` or `budget.share` as far as the vendor allows")
		}
	}
	return nil
}

// cap returns the bytes of a block, at most what a whole window allows: a larger block would never be granted.
func (s *space) cap(bytes uint64, now time.Duration) uint64 {
	for _, u := range s.users {
		if u = s.effective(u, now); u.bytes > 0 {
			bytes = min(bytes, u.bytes)
		}
	}
	return bytes
}

// askedForMore returns a copy whose last block is used up.
func (r *reservation) askedForMore(now time.Duration) *reservation {
	c := *r
	c.blocks = slices.Clone(r.blocks)
	if n := len(c.blocks); n > 0 && c.blocks[n-1].used == nil {
		c.blocks[n-1].used = &now
	}
	return &c
}

// toppedUp returns a copy with one more block; nil for nil.
func (r *reservation) toppedUp(bytes uint64) *reservation {
	if r == nil {
		return nil
	}
	c := *r
	c.bytes = add(r.bytes, bytes)
	c.blocks = append(slices.Clone(r.blocks), block{bytes: bytes})
	return &c
}

// Settle writes down what a reservation cost and what the vendor said. One that has ended already is left as it is;
// ErrUnknownReservation for one that isn't known.
func (m *Manager) Settle(ctx context.Context, st Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, r := m.find(st.Reservation)
	if r == nil {
		return fmt.Errorf("budget: settle %q: %w", st.Reservation, ErrUnknownReservation)
	}
	now := m.clock.Now()
	s.observe(now, st.VendorTime)
	c := *s.reservations[r.id]
	if c.ended == nil {
		c.settle(now, st)
		if c.ended != nil {
			c.vendorMillis = s.vendorNow(now)
		}
	}
	if err := m.store(ctx, s, now, s.said(s.view, now, &c, st.Vendor), &c); err != nil {
		return fmt.Errorf("budget %s: settle: %w", s.namespace, err)
	}
	return nil
}

func (r *reservation) settle(now time.Duration, st Settlement) {
	sent := max(r.sent, st.Requests)
	if st.Bytes > 0 || !st.Done {
		sent = max(sent, 1) // there was an answer
	}
	switch {
	case st.Done:
		r.requests = sent
		r.bytes = min(st.Bytes, math.MaxInt64)
		if r.headers == nil || sent > r.sent {
			r.headers = &now
		}
		r.end(now)
	case sent >= r.requests: // else some are still to be sent
		if r.headers == nil || sent > r.sent {
			r.headers = &now
		}
		r.requests = sent
		r.bytes = max(r.bytes, min(st.Bytes, math.MaxInt64))
	default:
		r.bytes = max(r.bytes, min(st.Bytes, math.MaxInt64))
	}
	r.sent = sent
}

// Abandon ends what an owner holds, which has ended itself without settling: it counts in full for one window from now. The
// owner's limits apply no more.
func (m *Manager) Abandon(ctx context.Context, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	for _, s := range m.spaces {
		var ended []*reservation
		for _, r := range s.reservations {
			if r.owner == owner && r.ended == nil {
				c := *r
				c.end(now)
				c.vendorMillis = s.vendorNow(now)
				ended = append(ended, &c)
			}
		}
		if len(ended) > 0 {
			if err := m.store(ctx, s, now, s.view, ended...); err != nil {
				return fmt.Errorf("budget %s: abandon %s: %w", s.namespace, owner, err)
			}
		}
		delete(s.users, owner)
		if len(s.users) == 0 && len(s.reservations) == 0 && s.shown == (limits{}) {
			delete(m.spaces, spaceKey{s.key, s.namespace}) // nothing was ever granted there
		}
	}
	return nil
}

func (m *Manager) space(key, namespace string) *space {
	k := spaceKey{key, namespace}
	s := m.spaces[k]
	if s == nil {
		s = &space{key: key, namespace: namespace, users: map[string]limits{}, reservations: map[string]*reservation{}}
		m.spaces[k] = s
	}
	return s
}

func (m *Manager) find(id string) (*space, *reservation) {
	for _, s := range m.spaces {
		if r := s.reservations[id]; r != nil {
			return s, r
		}
	}
	return nil, nil
}

// Status tells how every namespace of every key stands, by key and namespace. The limits are those that applied last.
func (m *Manager) Status(ctx context.Context) ([]NamespaceStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("budget: status: %w", err)
	}
	now := m.clock.Now()
	all := make([]NamespaceStatus, 0, len(m.spaces))
	for _, s := range m.spaces {
		all = append(all, s.status(now))
	}
	slices.SortFunc(all, func(a, b NamespaceStatus) int {
		return strings.Compare(a.Key+"\x00"+a.Namespace, b.Key+"\x00"+b.Namespace)
	})
	return all, nil
}

func (s *space) status(now time.Duration) NamespaceStatus {
	shown := s.applies(now)
	st := NamespaceStatus{
		Key: s.key, Namespace: s.namespace, Window: shown.window, LimitRequests: shown.requests, LimitBytes: shown.bytes,
		UsedRequests: used(s.requestCharges(shown.window), now), UsedBytes: used(s.byteCharges(shown.window, nil), now),
		BlockedFor: max(0, s.view.blocked-now),
	}
	for _, r := range s.reservations {
		if r.ended == nil {
			st.Open++
		}
	}
	if now < s.view.reset {
		st.VendorRequests, st.VendorBytes = s.view.remainingRequests, s.view.remainingBytes
	}
	if no := s.check(now, 1, 1, nil); no != nil {
		st.NextFree, st.Why = no.wait, no.why
	}
	return st
}

// applies returns the smallest of the users' limits after share, with the longest window; what was shown last without users.
func (s *space) applies(now time.Duration) limits {
	if len(s.users) == 0 {
		return s.shown
	}
	var out limits
	smaller := func(a, b uint64) uint64 {
		if a == 0 || b > 0 && b < a {
			return b
		}
		return a
	}
	for _, u := range s.users {
		u = s.effective(u, now)
		out.requests, out.bytes = smaller(out.requests, u.requests), smaller(out.bytes, u.bytes)
		out.window = max(out.window, u.window)
	}
	return out
}
