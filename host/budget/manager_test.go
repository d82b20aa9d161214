package budget

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
)

const window = 15 * time.Minute

// one asks for one request of at most limit in a window, all of it used.
func one(limit uint64) Request {
	return Request{Owner: "p1", Key: "k", Namespace: "download", LimitRequests: limit, Window: window, Share: 1, Requests: 1}
}

func TestRequestCountsUntilAWindowAfterItsHeaders(t *testing.T) {
	f := newFixture(t)
	g := f.acquire(one(1))
	if no := f.acquire(one(1)); no.Granted || no.Why != WhyRequests || no.RetryAfter > window/32 {
		t.Errorf("beside an open request: %+v", no)
	}
	f.clock.now += 3 * time.Hour // no answer yet: it counts still
	if no := f.acquire(one(1)); no.Granted {
		t.Error("granted beside an open request")
	}
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1})
	f.clock.now += time.Minute
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Done: true})
	if no := f.acquire(one(1)); no.Granted || no.RetryAfter != window-time.Minute {
		t.Errorf("after the answer: %+v", no)
	}
	f.clock.now += window - time.Minute - 1
	if no := f.acquire(one(1)); no.Granted || no.RetryAfter != 1 {
		t.Errorf("just before the end: %+v", no)
	}
	f.clock.now++
	if g := f.acquire(one(1)); !g.Granted {
		t.Errorf("a window after the headers: %+v", g)
	}
	var rows int
	must(t, f.l.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM budget_reservations`).Scan(&rows))
	if rows != 1 {
		t.Errorf("%d rows are kept, want 1", rows)
	}
}

func TestNeverSentIsFree(t *testing.T) {
	f := newFixture(t)
	g := f.acquire(one(1))
	f.settle(Settlement{Reservation: g.Reservation, Done: true})
	g = f.acquire(one(1))
	if !g.Granted {
		t.Errorf("got %+v", g)
	}
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1}) // headers: it was sent
	f.settle(Settlement{Reservation: g.Reservation, Done: true})
	if no := f.acquire(one(1)); no.Granted {
		t.Error("a request with an answer was freed")
	}
}

func TestShareAndSmallestLimit(t *testing.T) {
	for _, tt := range []struct {
		limit uint64
		share float64
		want  uint64
	}{{150, 0.9, 135}, {150, 0, 135}, {10, 0.7, 7}, {100, 0.29, 29}, {1, 0.9, 1}, {3, 0.1, 1}, {7, 1, 7}, {0, 0.5, 0}} {
		share := tt.share
		if share == 0 {
			share = DefaultShare
		}
		if got := allowed(tt.limit, share); got != tt.want {
			t.Errorf("allowed(%d, %v) = %d, want %d", tt.limit, share, got, tt.want)
		}
	}
	f := newFixture(t)
	small, large := one(2), one(10)
	large.Owner = "p2"
	f.acquire(small)
	f.acquire(large)
	if no := f.acquire(large); no.Granted {
		t.Error("the smaller limit of another user was ignored")
	}
	must(t, f.Abandon(t.Context(), "p1"))
	if g := f.acquire(large); !g.Granted {
		t.Errorf("after the other user's end: %+v", g)
	}
	other := one(1)
	other.Key = "another key"
	if g := f.acquire(other); !g.Granted {
		t.Errorf("another key: %+v", g)
	}
}

func TestBytes(t *testing.T) {
	f := newFixture(t)
	q := one(100)
	q.LimitBytes, q.Bytes = 100, 40
	g1, g2 := f.acquire(q), f.acquire(q)
	if no := f.acquire(q); no.Granted || no.Why != WhyBytes {
		t.Errorf("a third block: %+v", no)
	}
	f.settle(Settlement{Reservation: g1.Reservation, Requests: 1, Bytes: 10, Done: true}) // 10 + 40
	f.settle(Settlement{Reservation: g2.Reservation, Requests: 1})                        // its headers; bytes go on
	f.clock.now += time.Minute
	more := q
	more.Reservation, more.Requests = g2.Reservation, 0
	if g := f.acquire(more); !g.Granted || g.Reservation != g2.Reservation { // 10 + 80
		t.Errorf("a top-up: %+v", g)
	}
	f.clock.now += time.Minute
	no := f.acquire(more)
	if no.Granted || no.Why != WhyBytes {
		t.Errorf("beyond the limit: %+v", no)
	}
	// The answer's own first block was used up a minute ago: then it counts for one window, or no large answer could ever end.
	f.clock.now += no.RetryAfter
	if g := f.acquire(more); !g.Granted || no.RetryAfter != window-time.Minute {
		t.Errorf("a window later: %+v after %v", g, no.RetryAfter)
	}
	// For others all of an open answer counts.
	if st, err := f.Status(t.Context()); err != nil || st[0].UsedBytes != 120 {
		t.Errorf("status %+v, %v", st, err)
	}
	f.settle(Settlement{Reservation: g2.Reservation, Requests: 1, Bytes: 100, Done: true})
	if no := f.acquire(q); no.Granted || no.RetryAfter != window {
		t.Errorf("bytes count from the last one: %+v", no)
	}
	if _, err := f.Acquire(t.Context(), more); !errors.Is(err, ErrUnknownReservation) {
		t.Errorf("a top-up after the end: %v", err)
	}
}

func TestBlockLargerThanTheLimit(t *testing.T) {
	f := newFixture(t)
	q := one(100)
	q.LimitBytes, q.Bytes = 100, 1000
	if g := f.acquire(q); !g.Granted {
		t.Errorf("got %+v", g)
	}
	if g := f.acquire(q); g.Granted {
		t.Errorf("got %+v", g)
	}
}

func TestRestartAndReboot(t *testing.T) {
	for _, tt := range []struct {
		name    string
		settled bool
		dates   bool // the vendor's clock is known, before and after
		restart func(f *fixture)
		want    time.Duration // until the next grant, from then
	}{
		{"settled, same boot", true, false, func(f *fixture) { f.clock.now += time.Minute; f.restart() }, window - time.Minute},
		{"settled, same boot, twice", true, false, func(f *fixture) {
			f.clock.now += time.Minute
			f.restart()
			f.clock.now += time.Minute
			f.restart()
		}, window - 2*time.Minute},
		{"open, same boot", false, false, func(f *fixture) { f.clock.now += time.Hour; f.restart() }, window},
		{"open, restarted twice", false, false, func(f *fixture) {
			f.clock.now += time.Hour
			f.restart()
			f.clock.now += time.Minute
			f.restart()
		}, window - time.Minute},
		{"settled, reboot without dates", true, false, func(f *fixture) { f.reboot("two", time.Minute) }, window},
		{"settled, reboot and restart without dates", true, false, func(f *fixture) {
			f.reboot("two", time.Minute)
			f.clock.now += time.Minute
			f.restart()
		}, window - time.Minute},
		{"settled, reboot with dates", true, true, func(f *fixture) { f.reboot("two", 5*time.Minute) }, window - 5*time.Minute + dateMargin},
		{"settled, long ago by dates", true, true, func(f *fixture) { f.reboot("two", time.Hour) }, 0},
		{"settled, two reboots with dates", true, true, func(f *fixture) {
			f.reboot("two", 5*time.Minute)
			f.reboot("three", 5*time.Minute)
		}, window - 10*time.Minute + dateMargin},
		{"open, reboot with dates", false, true, func(f *fixture) { f.reboot("two", time.Hour) }, window},
		{"the clock of the same boot went back", true, false, func(f *fixture) { f.clock.now -= 30 * time.Minute; f.restart() }, window},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			date := func() time.Time {
				if tt.dates {
					return f.seen()
				}
				return time.Time{}
			}
			q := one(1)
			q.VendorTime = date()
			g := f.acquire(q)
			if tt.settled {
				f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Done: true, VendorTime: date()})
			}
			tt.restart(f)
			q.VendorTime = date()
			var got time.Duration
			if g := f.acquire(q); !g.Granted {
				got = g.RetryAfter
			}
			if got != tt.want {
				t.Errorf("waits for %v, want %v", got, tt.want)
			}
		})
	}
}

func TestVendorsAnswers(t *testing.T) {
	type step struct {
		said  Vendor
		after time.Duration // until the question
		want  Grant         // Reservation isn't compared
	}
	granted := Grant{Granted: true}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"Retry-After", []step{{Vendor{RetryAfter: 30 * time.Second}, 10 * time.Second, Grant{RetryAfter: 20 * time.Second, Why: WhyVendor}}}},
		{"Retry-After has passed", []step{{Vendor{RetryAfter: 30 * time.Second}, 30 * time.Second, granted}}},
		{"Retry-After beyond the window", []step{{Vendor{RetryAfter: 2 * time.Hour}, window, Grant{RetryAfter: 2*time.Hour - window, Why: WhyVendor}}}},
		{"Retry-After beyond reason", []step{{Vendor{RetryAfter: 1000 * time.Hour}, 0, Grant{RetryAfter: longestWait, Why: WhyVendor}}}},
		{"a reset beyond the window", []step{{Vendor{RemainingRequests: ptr(0), Reset: 2 * time.Hour}, window, Grant{RetryAfter: 2*time.Hour - window, Why: WhyVendor}}}},
		{"a shorter Retry-After doesn't end a longer one", []step{
			{Vendor{RetryAfter: time.Minute}, 0, Grant{RetryAfter: time.Minute, Why: WhyVendor}},
			{Vendor{RetryAfter: time.Second}, 0, Grant{RetryAfter: time.Minute, Why: WhyVendor}},
		}},
		{"nothing remains", []step{{Vendor{RemainingRequests: ptr(0), Reset: time.Minute}, 0, Grant{RetryAfter: time.Minute, Why: WhyVendor}}}},
		{"nothing remains until the reset", []step{{Vendor{RemainingRequests: ptr(0), Reset: time.Minute}, time.Minute, granted}}},
		{"nothing remains, no reset", []step{{Vendor{RemainingRequests: ptr(0)}, 0, Grant{RetryAfter: window, Why: WhyVendor}}}},
		{"one remains", []step{
			{Vendor{RemainingRequests: ptr(1), Reset: time.Hour}, 0, granted},
			{Vendor{}, 0, Grant{RetryAfter: time.Hour, Why: WhyVendor}},
		}},
		{"no bytes remain", []step{{Vendor{RemainingBytes: ptr(3), Reset: time.Minute}, 0, Grant{RetryAfter: time.Minute, Why: WhyVendor}}}},
		{"a smaller limit", []step{{Vendor{LimitRequests: ptr(1)}, 0, Grant{RetryAfter: window, Why: WhyRequests}}}},
		{"a smaller limit, taken back", []step{
			{Vendor{LimitRequests: ptr(1)}, 0, Grant{RetryAfter: window, Why: WhyRequests}},
			{Vendor{LimitRequests: ptr(100)}, 0, granted},
		}},
		{"a larger limit", []step{{Vendor{LimitRequests: ptr(1000), RemainingRequests: ptr(999)}, 0, granted}}},
		{"a limit of nothing is nonsense", []step{{Vendor{LimitRequests: ptr(0), LimitBytes: ptr(0)}, 0, granted}}},
	} {
		for _, again := range []string{"", "restarted", "rebooted"} {
			t.Run(tt.name+again, func(t *testing.T) {
				f := newFixture(t)
				q := one(50)
				q.Bytes, q.LimitBytes = 10, 1000
				g := f.acquire(q)
				for i, s := range tt.steps {
					f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Bytes: 1, Done: true, Vendor: s.said, VendorTime: f.seen()})
					f.clock.now += s.after
					switch again {
					case "restarted":
						f.restart()
					case "rebooted":
						f.reboot("two", 0)
						s.want.RetryAfter = 0 // it may be longer
					}
					got := f.acquire(q)
					if got.Granted {
						g = got
						got.Reservation = ""
					}
					if again == "rebooted" {
						if s.want.Granted {
							break // what was said counts anew: it may be refused
						}
						got.RetryAfter = 0
					}
					if diff := cmp.Diff(s.want, got); diff != "" {
						t.Errorf("step %d (-want +got):\n%s", i, diff)
					}
					if again != "" {
						break // later steps depend on what is in flight
					}
				}
			})
		}
	}
}

// TestRemainingCountsWhatIsInFlight: requests without an answer may not be in the vendor's count yet.
func TestRemainingCountsWhatIsInFlight(t *testing.T) {
	f := newFixture(t)
	g, _ := f.acquire(one(50)), f.acquire(one(50))
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Done: true, Vendor: Vendor{RemainingRequests: ptr(2)}})
	if g := f.acquire(one(50)); !g.Granted {
		t.Errorf("got %+v", g)
	}
	if g := f.acquire(one(50)); g.Granted || g.Why != WhyVendor {
		t.Errorf("got %+v", g)
	}
}

func TestAbandonCountsInFull(t *testing.T) {
	f := newFixture(t)
	q := one(1)
	q.LimitBytes, q.Bytes = 10, 10
	g := f.acquire(q)
	f.clock.now += time.Hour
	must(t, f.Abandon(t.Context(), "p1"))
	q.Owner = "p2"
	if g := f.acquire(q); g.Granted || g.RetryAfter != window {
		t.Errorf("got %+v", g)
	}
	f.settle(Settlement{Reservation: g.Reservation, Done: true}) // too late to say that it was never sent
	if g := f.acquire(q); g.Granted {
		t.Errorf("got %+v", g)
	}
	f.clock.now += window
	if g := f.acquire(q); !g.Granted {
		t.Errorf("got %+v", g)
	}
}

func TestSeveralRequestsInAReservation(t *testing.T) {
	f := newFixture(t)
	q := one(5)
	q.Requests = 3
	g := f.acquire(q)
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1})
	f.clock.now += 2 * window // two are still to be sent
	if no := f.acquire(q); no.Granted {
		t.Errorf("got %+v", no)
	}
	f.settle(Settlement{Reservation: g.Reservation, Requests: 2, Done: true})
	if g := f.acquire(q); !g.Granted {
		t.Errorf("the third was never sent: %+v", g)
	}
	if g := f.acquire(one(5)); g.Granted {
		t.Errorf("got %+v", g)
	}
}

func TestRefusedQuestions(t *testing.T) {
	if maxWindow != time.Duration(rest.MaxWindow) {
		t.Errorf("windows may be %s, and the sources' settings refuse those over %s", maxWindow, time.Duration(rest.MaxWindow))
	}
	f := newFixture(t)
	for _, tt := range []struct {
		name   string
		change func(q *Request)
		want   fault.Kind
	}{
		{"share", func(q *Request) { q.Share = 1.5 }, fault.Config},
		{"no window", func(q *Request) { q.Window = 0 }, fault.Config},
		{"too many at once", func(q *Request) { q.Requests = 6 }, fault.Config},
		{"no key", func(q *Request) { q.Key = "" }, fault.Bug},
		{"a long key", func(q *Request) { q.Key = strings.Repeat("k", maxName+1) }, fault.Bug},
		{"a long namespace", func(q *Request) { q.Namespace = strings.Repeat("n", maxName+1) }, fault.Bug},
		{"a long window", func(q *Request) { q.Window = maxWindow + 1 }, fault.Config},
		{"no requests", func(q *Request) { q.Requests = 0 }, fault.Bug},
		{"requests in a top-up", func(q *Request) { q.Reservation, q.Bytes = "x", 1 }, fault.Bug},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := one(5)
			tt.change(&q)
			if g, err := f.Acquire(t.Context(), q); fault.KindOf(err) != tt.want || g.Granted {
				t.Errorf("got %+v, %v", g, err)
			}
		})
	}
	if err := f.Settle(t.Context(), Settlement{Reservation: "nobody's"}); !errors.Is(err, ErrUnknownReservation) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Acquire(ctx, one(5)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestNamespacesAreBounded: what a plugin names is kept, so it may name so much, and what it was never granted anything of goes with it.
func TestNamespacesAreBounded(t *testing.T) {
	f := newFixture(t)
	q := one(5)
	q.Owner = "greedy"
	ask := func(i int, requests uint64) error {
		q := q
		q.Namespace, q.Requests = strconv.Itoa(i), requests
		_, err := f.Acquire(t.Context(), q)
		return err
	}
	must(t, ask(0, 1))
	for i := 1; i < maxSpaces; i++ {
		if err := ask(i, 6); fault.KindOf(err) != fault.Config {
			t.Fatalf("got %v", err)
		}
	}
	if err := ask(maxSpaces, 1); fault.KindOf(err) != fault.Bug {
		t.Errorf("one more: %v", err)
	}
	must(t, ask(0, 1))
	q.Owner = "another"
	must(t, ask(maxSpaces, 1))
	must(t, f.Abandon(t.Context(), "greedy"))
	if len(f.spaces) != 2 {
		t.Errorf("%d namespaces are kept, want the two with a reservation", len(f.spaces))
	}
}

// TestNothingIsGrantedThatIsNotStored: an answer is on disk before it is given.
func TestNothingIsGrantedThatIsNotStored(t *testing.T) {
	f := newFixture(t)
	f.acquire(one(5))
	_, err := f.l.DB().ExecContext(t.Context(), `PRAGMA query_only = 1`)
	must(t, err)
	if g, err := f.Acquire(t.Context(), one(5)); err == nil || g.Granted {
		t.Errorf("got %+v, %v", g, err)
	}
	_, err = f.l.DB().ExecContext(t.Context(), `PRAGMA query_only = 0`)
	must(t, err)
	if st, err := f.Status(t.Context()); err != nil || st[0].UsedRequests != 1 {
		t.Errorf("status %+v, %v", st, err)
	}
}

func TestStatus(t *testing.T) {
	f := newFixture(t)
	q := one(2)
	q.LimitBytes, q.Bytes, q.Share = 100, 10, 1
	g := f.acquire(q)
	f.acquire(q)
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Bytes: 7, Done: true, Vendor: Vendor{RetryAfter: time.Minute}})
	want := []NamespaceStatus{{
		Key: "k", Namespace: "download", Window: window, UsedRequests: 2, LimitRequests: 2, UsedBytes: 17, LimitBytes: 100,
		Open: 1, NextFree: window, Why: WhyRequests, BlockedFor: time.Minute,
	}}
	got, err := f.Status(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	f.restart()
	want[0].Open, want[0].NextFree, want[0].Why = 0, time.Minute, WhyVendor // the limits of its users aren't known yet
	got, err = f.Status(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status after a restart (-want +got):\n%s", diff)
	}
}

func TestSystemClock(t *testing.T) {
	c, err := SystemClock()
	must(t, err)
	a, b := c.Now(), c.Now()
	if c.Boot() == "" || a <= 0 && b <= 0 || b < a {
		t.Errorf("boot %q, %v, %v", c.Boot(), a, b)
	}
}

// TestDatesOnlyComeLate: of several Dates the one that came fastest tells the vendor's clock best, and one that came slowly, or was
// told again much later, must not make what was counted look older or younger.
func TestDatesOnlyComeLate(t *testing.T) {
	f := newFixture(t)
	q := one(1)
	q.VendorTime = f.seen()
	g := f.acquire(q)
	stale := f.seen()
	f.clock.now += 5 * time.Minute
	f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Done: true, VendorTime: stale})
	f.reboot("two", time.Minute)
	q.VendorTime = f.seen()
	if no := f.acquire(q); no.Granted || no.RetryAfter != window-time.Minute+dateMargin {
		t.Errorf("got %+v", no)
	}
	q.VendorTime = stale // proves nothing new
	if no := f.acquire(q); no.Granted || no.RetryAfter != window-time.Minute+dateMargin {
		t.Errorf("got %+v", no)
	}
}
