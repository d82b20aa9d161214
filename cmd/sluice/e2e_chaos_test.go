package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// chaosRounds is how often something is killed while a run goes on: 5 times, or as SLUICE_CHAOS_ROUNDS says.
func chaosRounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SLUICE_CHAOS_ROUNDS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SLUICE_CHAOS_ROUNDS=%s isn't a number of rounds", text)
	}
	return n
}

// victims draws what is killed in each round; each of them comes once before any comes again.
func victims(rnd *rand.Rand, rounds int, names ...string) []string {
	var out []string
	for len(out) < rounds {
		for _, i := range rnd.Perm(len(names)) {
			out = append(out, names[i])
		}
	}
	return out[:rounds]
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
