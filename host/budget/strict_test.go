package budget

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// strictVendor refuses nothing and forgives nothing: it fails the test when more than its limits arrive in any window.
type strictVendor struct {
	t                   testing.TB
	requests, bytes     uint64 // limits
	block               uint64 // of bytes, that is asked for at a time
	window              time.Duration
	arrived             []time.Time
	served              []servedBytes
	total, totalRefused int
}

type servedBytes struct {
	at time.Time
	n  uint64
}

func (v *strictVendor) arrive(at time.Time, when string) {
	v.total++
	v.arrived = append(slices.DeleteFunc(v.arrived, func(t time.Time) bool { return at.Sub(t) >= v.window }), at)
	if n := uint64(len(v.arrived)); n > v.requests {
		v.t.Fatalf("%s: %d requests in a window, %d are allowed", when, n, v.requests)
	}
}

func (v *strictVendor) serve(at time.Time, n uint64, when string) {
	v.served = append(slices.DeleteFunc(v.served, func(s servedBytes) bool { return at.Sub(s.at) >= v.window }), servedBytes{at, n})
	var sum uint64
	for _, s := range v.served {
		sum += s.n
	}
	if sum > v.bytes { // who asks for a block before the last one is used up may exceed this by what is left of it
		v.t.Fatalf("%s: %d bytes in a window, %d are allowed", when, sum, v.bytes)
	}
}

// flight is a request of a simulated plugin process.
type flight struct {
	owner    string
	id       string
	reserved uint64 // bytes that may come still
	got      uint64
	arrived  bool
	headers  bool
}

// TestNeverExceeded runs random requests, delays, deaths of processes and of the host, reboots and settings against a strict vendor.
func TestNeverExceeded(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		f := newFixture(t)
		v := &strictVendor{t: t, requests: 1 + rng.Uint64N(8), bytes: 200, block: 50, window: time.Minute}
		var flights []*flight
		boots := 0
		wall := f.vendor()
		knowsDates := rng.IntN(2) == 0
		date := func() time.Time {
			if knowsDates && rng.IntN(4) > 0 {
				return f.seen()
			}
			return time.Time{}
		}
		question := func(owner string) Request {
			return Request{
				Owner: owner, Key: "k", Namespace: "n", LimitRequests: v.requests, LimitBytes: v.bytes, Window: v.window, Share: 1,
				Requests: 1, Bytes: v.block, VendorTime: date(),
			}
		}
		for step := range 2000 {
			when := fmt.Sprintf("seed %d step %d", seed, step)
			if now := f.vendor(); now.Before(wall) {
				t.Fatalf("%s: the test's own clock went back", when)
			}
			wall = f.vendor()
			var fl *flight
			if len(flights) > 0 {
				fl = flights[rng.IntN(len(flights))]
			}
			switch op := rng.IntN(40); {
			case op < 12:
				owner := fmt.Sprintf("p%d", rng.IntN(3))
				if g := f.acquire(question(owner)); g.Granted {
					flights = append(flights, &flight{owner: owner, id: g.Reservation, reserved: v.block})
				} else if v.totalRefused++; rng.IntN(3) == 0 && g.RetryAfter > 0 {
					f.clock.now += g.RetryAfter
				}
			case op < 18 && fl != nil && !fl.arrived:
				fl.arrived = true
				v.arrive(f.vendor(), when)
			case op < 22 && fl != nil && fl.arrived && !fl.headers:
				fl.headers = true
				f.settle(Settlement{Reservation: fl.id, Requests: 1, VendorTime: date()})
			case op < 28 && fl != nil && fl.headers:
				if fl.reserved == 0 {
					q := question(fl.owner)
					q.Requests, q.Reservation = 0, fl.id
					if f.acquire(q).Granted {
						fl.reserved = v.block
					}
					continue
				}
				n := 1 + rng.Uint64N(fl.reserved)
				fl.reserved -= n
				fl.got += n
				v.serve(f.vendor(), n, when)
			case op < 32 && fl != nil:
				st := Settlement{Reservation: fl.id, Bytes: fl.got, Done: true, VendorTime: date()}
				if fl.arrived {
					st.Requests = 1
				}
				f.settle(st)
				flights = slices.DeleteFunc(flights, func(x *flight) bool { return x == fl })
			case op < 33:
				owner := fmt.Sprintf("p%d", rng.IntN(3))
				flights = slices.DeleteFunc(flights, func(x *flight) bool { return x.owner == owner })
				must(t, f.Abandon(t.Context(), owner))
			case op < 34:
				flights = nil
				f.restart()
			case op == 34:
				flights = nil
				boots++
				f.reboot(fmt.Sprint("boot", boots), time.Duration(rng.Int64N(int64(2*v.window))))
			default:
				f.clock.now += time.Duration(rng.Int64N(int64(v.window / 8)))
			}
		}
		if v.total < 40 || v.totalRefused < 40 {
			t.Errorf("seed %d: %d requests arrived, %d were refused: this tests little", seed, v.total, v.totalRefused)
		}
	}
}

// TestUtilisation holds that what is allowed is also used, by one who asks when told to.
func TestUtilisation(t *testing.T) {
	for _, latency := range []time.Duration{time.Millisecond, time.Second, 10 * time.Second} {
		f := newFixture(t)
		v := &strictVendor{t: t, requests: 30, window: 100 * time.Second}
		q := Request{Owner: "p", Key: "k", Namespace: "n", LimitRequests: v.requests, Window: v.window, Share: 1, Requests: 1}
		const windows = 20
		type answer struct {
			at time.Duration
			id string
		}
		var open []answer
		end := f.clock.now + windows*v.window
		for f.clock.now < end {
			for len(open) > 0 && open[0].at <= f.clock.now {
				f.settle(Settlement{Reservation: open[0].id, Requests: 1, Done: true})
				open = open[1:]
			}
			next := time.Duration(0)
			if len(open) < 8 {
				g := f.acquire(q)
				if g.Granted {
					v.arrive(f.vendor(), "busy")
					open = append(open, answer{f.clock.now + latency, g.Reservation})
					continue
				}
				next = f.clock.now + g.RetryAfter
			}
			if len(open) > 0 && (next == 0 || open[0].at < next) {
				next = open[0].at
			}
			f.clock.now = next
		}
		if got, full := v.total, windows*int(v.requests); got*10 < full*7 {
			t.Errorf("latency %v: %d requests in %d windows of %d: less than 70 %%", latency, got, windows, v.requests)
		}
	}
}

func BenchmarkAcquireSettle(b *testing.B) {
	f := newFixture(b)
	q := Request{Owner: "p", Key: "k", Namespace: "n", LimitRequests: 1500, Window: window, Share: 1, Requests: 1, LimitBytes: 1 << 40, Bytes: 1 << 20}
	for b.Loop() {
		g := f.acquire(q)
		f.settle(Settlement{Reservation: g.Reservation, Requests: 1})
		f.settle(Settlement{Reservation: g.Reservation, Requests: 1, Bytes: 1000, Done: true})
		f.clock.now += window / 1400
	}
}
