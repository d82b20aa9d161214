package budget

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/host/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeClock is a boot clock that only the test moves.
type fakeClock struct {
	boot string
	now  time.Duration
}

func (c *fakeClock) Boot() string       { return c.boot }
func (c *fakeClock) Now() time.Duration { return c.now }

// fixture is a manager over a ledger's tables with a clock of its own.
type fixture struct {
	*Manager
	t     testing.TB
	l     *ledger.Ledger
	clock *fakeClock
	date  time.Time // the vendor's clock when clock.now was base
	base  time.Duration
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	l, err := ledger.Open(t.Context(), t.TempDir(), ledger.Options{Version: "test"})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	// Synchronous writes are the ledger's tests; here thousands of steps only need the same tables.
	_, err = l.DB().ExecContext(t.Context(), `PRAGMA synchronous = OFF`)
	must(t, err)
	f := &fixture{t: t, l: l, clock: &fakeClock{boot: "one", now: time.Hour}, date: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	f.base = f.clock.now
	f.restart()
	return f
}

// restart is a host that ended without a word and starts again.
func (f *fixture) restart() {
	f.t.Helper()
	m, err := New(f.l.DB(), f.clock)
	must(f.t, err)
	f.Manager = m
}

// reboot is a restart after a time in another boot, whose clock starts anew.
func (f *fixture) reboot(boot string, after time.Duration) {
	f.t.Helper()
	f.date = f.vendor().Add(after)
	f.clock.boot, f.clock.now, f.base = boot, 30*time.Second, 30*time.Second
	f.restart()
}

// vendor is the vendor's clock now.
func (f *fixture) vendor() time.Time { return f.date.Add(f.clock.now - f.base) }

// seen is the Date that an answer has now.
func (f *fixture) seen() time.Time { return f.vendor().Truncate(time.Second) }

func (f *fixture) acquire(q Request) Grant {
	f.t.Helper()
	g, err := f.Acquire(f.t.Context(), q)
	must(f.t, err)
	if g.Granted == (g.RetryAfter > 0) || g.Granted != (g.Reservation != "") || g.Granted == (g.Why != "") {
		f.t.Fatalf("grant %+v", g)
	}
	return g
}

func (f *fixture) settle(s Settlement) {
	f.t.Helper()
	must(f.t, f.Settle(f.t.Context(), s))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ptr(n uint64) *uint64 { return &n }
