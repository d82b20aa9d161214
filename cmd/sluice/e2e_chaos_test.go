package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/sluice-io/sluice/internal/realpart/toxiproxy"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestChaos runs the real program from a simulated vendor into each exactly-once sink on its real server while everything that a blow can
// hit is hit: host, plugin, server, disk, network, the vendor's clock. Each round has a place of its own in the server. It kills host,
// plugin and server, and deals some of the other blows, in an order, at moments and of a kind drawn from the round's seed; five seeds in a
// row deal all that the sink can take. In the end what is committed is what was served, each record once, nothing half-written is left,
// and `status` and `verify` say the same.
//
// SLUICE_CHAOS_ROUNDS plays more rounds, SLUICE_CHAOS_SEED is the first one's seed. A round is played again by its name:
//
//	SLUICE_CHAOS_SEED=7 go test ./cmd/sluice -run 'TestChaos/kafka/seed=7$'
//
// SLUICE_CHAOS_REPORT names a file that takes a Markdown table of what happened.
func TestChaos(t *testing.T) {
	t.Parallel()
	rounds, first := number(t, "SLUICE_CHAOS_ROUNDS", testsize.Of[uint64](5, 1)), number(t, "SLUICE_CHAOS_SEED", 1)
	proxies := toxiproxy.Start(t)
	report := &chaosReport{first: first, lines: map[string]*chaosLine{}}
	t.Cleanup(func() { report.write(t) }) // after the parallel ones
	preys := map[string]func(*testing.T, *toxiproxy.Server) prey{"files": startFilesPrey, "postgres": startPostgresPrey}
	if testsize.Full() || os.Getenv("SLUICE_CHAOS_SEED") != "" {
		preys["object"], preys["kafka"] = startObjectPrey, startKafkaPrey
	}
	for name, start := range preys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, proxies)
			for seed := first; seed < first+rounds; seed++ {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					g := &game{seed: seed, plain: seed != first, Rand: rand.New(rand.NewPCG(seed, xxh3.HashString(name))), t: t, prey: p, proxies: proxies, began: time.Now(), hit: map[string]int{}}
					t.Cleanup(func() {
						report.add(name, g, t.Failed())
						t.Logf("dealt:\n  %s\nagain: SLUICE_CHAOS_SEED=%d go test ./cmd/sluice -run '%s$'", strings.Join(g.dealt, "\n  "), seed, t.Name())
					})
					g.play()
				})
			}
		})
	}
}

// prey is a kind of sink with its server. Its methods are called by one round at a time, t is the round's.
type prey interface {
	// sinks adds sinks in a place of their own to a rig, and returns what looks for what they hold in the end.
	sinks(g *game, r *rig) (mustHold func())
	// blows are what it can take beside those that hit everything.
	blows() []blow
}

// blow is something bad that happens to a run at work.
type blow struct {
	name string
	// strike deals it. It may end the run. heal, if not nil, is called when it has lasted for a while, and the run then goes on to its end.
	strike func(g *game) (heal func())
	ends   []int  // the exit codes that the run may end with beside 0
	env    string // of the run, as NAME=VALUE
	kills  bool   // each round deals it
	begun  bool   // it comes behind a commit: before, a run has no lock yet, and a plugin that ends while it starts fails it
}

// game is a round.
type game struct {
	*rand.Rand
	seed    uint64
	plain   bool // see program
	t       *testing.T
	prey    prey
	proxies *toxiproxy.Server
	r       *rig
	clock   *vendorsim.Clock
	vendor  *toxiproxy.Proxy
	run     *command // that is hit
	answers int64    // that a run gets at most before it is hit
	began   time.Time
	dealt   []string
	hit     map[string]int // blows that met a run at work
}

func (g *game) say(format string, args ...any) {
	g.dealt = append(g.dealt, fmt.Sprintf("%6.2fs ", time.Since(g.began).Seconds())+fmt.Sprintf(format, args...))
}

// millis draws a duration in [0,most) milliseconds.
func (g *game) millis(most int) time.Duration { return time.Duration(g.IntN(most)) * time.Millisecond }

func (g *game) play() {
	g.clock = vendorsim.NewClock(0)
	end := seedStart.AddDate(0, 0, 3)
	g.clock.Set(end.Add(time.Hour)) // so that what is asked for last is young when the clock steps back
	seed := vendorsim.SeedOptions{Seed: g.Uint64N(1 << 20), Start: seedStart, Days: 3, Lines: 2000}
	g.r = newRig(g.t, vendorsim.Options{Logs: vendorsim.Seeded(seed), Clock: g.clock})
	g.r.plain = g.plain
	g.vendor = g.proxies.Proxy(g.t, strings.TrimPrefix(g.r.url, "http://"))
	g.r.url = "http://" + g.vendor.Address
	g.r.source["http"] = obj{"timeout": "2s"}
	g.r.pipeline["retry"] = obj{"attempts": 1000, "max_backoff": "200ms"}
	g.r.pipeline["lag"] = "1s" // a run waits for no more when the clock has stepped
	cut := g.IntN(3)
	g.answers = []int64{2, 8, 3}[cut] // as many slices are there at least, and some more
	g.r.pipeline["flow"] = obj{"slice": []string{"auto", "1h", "3h"}[cut], "parallel": 1 + g.IntN(4)}
	g.say("flow %v", g.r.pipeline["flow"])
	mustHold := g.prey.sinks(g, g.r)
	blows := dealt(append(everyBlow(), g.prey.blows()...), g.seed)
	g.Shuffle(len(blows), func(i, j int) { blows[i], blows[j] = blows[j], blows[i] })
	span := end.Sub(seedStart)
	for i, b := range blows {
		// Each has work of its own, so that there is something to hit.
		g.r.to = seedStart.Add(span * time.Duration(i+1) / time.Duration(len(blows)+1)).Truncate(time.Millisecond)
		g.r.write()
		g.strike(b)
	}
	g.r.to = end
	g.r.write()
	// What a host left that was killed last is taken away by a start after it, on some stores by the second.
	for range 2 {
		g.r.run(0, "run")
	}
	g.r.run(0, "run").mustSay("nothing to do")
	mustHold()
	g.mustAgree()
	g.r.mustProve()
}

// dealt returns the blows of a round: all that kill, and a part of the others so large that fullDeck seeds in a row deal each.
func dealt(blows []blow, seed uint64) []blow {
	var kills, others []blow
	for _, b := range blows {
		if b.kills {
			kills = append(kills, b)
		} else {
			others = append(others, b)
		}
	}
	n, each := uint64(len(others)), uint64(len(others)+fullDeck-1)/fullDeck
	for i := range each {
		kills = append(kills, others[(seed*each+i)%n])
	}
	return kills
}

// fullDeck is how many rounds deal each blow at least once.
const fullDeck = 5

// strike starts a run, lets a blow hit it in the middle of its work and waits for its end.
func (g *game) strike(b blow) {
	// The vendor answers some downloads and no other until the blow is dealt, so that the run can't be over before.
	answers, dealt := 1+g.Int64N(g.answers), make(chan struct{})
	var asked atomic.Int64
	rule := vendorsim.Rule{Path: "/download/", When: func(*http.Request) bool { return asked.Add(1) > answers }, Fault: vendorsim.Fault{Hold: dealt}}
	if err := g.r.sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{rule}}); err != nil {
		g.t.Fatal(err)
	}
	args := []string{"run"}
	if b.env != "" {
		args = []string{b.env, "run"}
	}
	g.run = g.r.prepare(args...).start()
	if g.IntN(4) > 0 || b.begun { // else at any moment of its start
		g.run.awaitOrEnd("a commit", func() bool { return strings.Contains(g.run.stderr.String(), ": committed ") })
	}
	pause, lasts := g.millis(300), 100*time.Millisecond+g.millis(900)
	g.say("%s after %s", b.name, pause)
	var heal func()
	if g.run.endsWithin(pause) {
		g.say("  the run had ended")
	} else {
		g.hit[b.name]++
		heal = b.strike(g)
	}
	close(dealt)
	if err := g.r.sim.SetFaults(vendorsim.Script{}); err != nil {
		g.t.Fatal(err)
	}
	if heal != nil {
		g.run.endsWithin(lasts)
		heal()
	}
	g.run.wait()
	if g.run.signal == 0 && g.run.code != 0 && !slices.Contains(b.ends, g.run.code) {
		g.t.Fatalf("%s: exit %d\n%s", b.name, g.run.code, tail(g.run.stderr.String()))
	}
}

// mustAgree requires that `status` says that each sink holds all of what was asked for, with as many records as were served.
func (g *game) mustAgree() {
	g.t.Helper()
	served := uint64(0)
	for _, id := range g.r.logs {
		for range g.r.sim.Lines(id, g.r.from, g.r.to) {
			served++
		}
	}
	for _, s := range g.r.sinkStatuses() {
		rows := uint64(0)
		for _, p := range s.Partitions {
			rows += p.Rows
			if len(p.Failures)+len(p.Gaps)+len(p.Gone) > 0 || p.Dead > 0 {
				g.t.Errorf("status: sink %s, %s: %+v", s.Name, p.Partition, p)
			}
		}
		if s.Missing != 0 || s.Unavailable != 0 || s.Covered != s.Asked || s.Asked == 0 || rows != served {
			g.t.Errorf("status: sink %s: asked %d ms, covered %d, missing %d, unavailable %d, %d records of %d",
				s.Name, s.Asked, s.Covered, s.Missing, s.Unavailable, rows, served)
		}
	}
}

// chaosReport is what the rounds came to. Safe for concurrent use.
type chaosReport struct {
	first uint64
	mu    sync.Mutex
	lines map[string]*chaosLine // by prey
}

type chaosLine struct {
	rounds int
	hit    map[string]int
	failed []string
}

func (c *chaosReport) add(name string, g *game, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[name]
	if l == nil {
		l = &chaosLine{hit: map[string]int{}}
		c.lines[name] = l
	}
	l.rounds++
	for blow, n := range g.hit {
		l.hit[blow] += n
	}
	if failed {
		l.failed = append(l.failed, filepath.Base(g.t.Name()))
	}
}

// write writes the table, if one is asked for.
func (c *chaosReport) write(t *testing.T) {
	out := os.Getenv("SLUICE_CHAOS_REPORT")
	if out == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	text.WriteString("| sinks | seeds | rounds | blows at work | result |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(c.lines)) {
		l := c.lines[name]
		var blows []string
		for _, b := range slices.Sorted(maps.Keys(l.hit)) {
			blows = append(blows, fmt.Sprintf("%s %d", b, l.hit[b]))
		}
		result := "every record once"
		if len(l.failed) > 0 {
			result = "**failed**: " + strings.Join(l.failed, ", ")
		}
		fmt.Fprintf(&text, "| %s | %d to %d | %d | %s | %s |\n", name, c.first, c.first+uint64(l.rounds)-1, l.rounds, strings.Join(blows, ", "), result)
	}
	if err := os.WriteFile(out, []byte(text.String()), 0o600); err != nil {
		t.Error(err)
	}
}

// awaitOrEnd waits until a condition holds or the command has ended, which may have had little left to do.
func (c *command) awaitOrEnd(what string, holds func() bool) {
	c.t.Helper()
	c.await(what, func() bool { return c.endsWithin(0) || holds() })
}

// endsWithin waits for a while and reports whether the command has ended.
func (c *command) endsWithin(d time.Duration) bool {
	select {
	case <-c.ended:
		return true
	default:
	}
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.ended:
		return true
	case <-timer.C:
		return false
	}
}
