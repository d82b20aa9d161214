package config

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOuters compares the walk over sorted paths with a look at each pair.
func TestOuters(t *testing.T) {
	names := []string{"a", "a-b", "b", ".c", "_d", "_sluice", "ä", "a b"}
	rng := rand.New(rand.NewPCG(7, 11))
	for range 2000 {
		taken, targets := map[string]bool{}, []target(nil)
		for range rng.IntN(12) {
			parts := make([]string, rng.IntN(5))
			for i := range parts {
				parts[i] = names[rng.IntN(len(names))]
			}
			to := target{path: "/" + filepath.Join(parts...)}
			if rng.IntN(4) > 0 {
				to.sink = "s"
			}
			if !taken[to.path] { // one that is used twice is refused before
				targets = append(targets, to)
			}
			taken[to.path] = true
		}
		want := make([]int, len(targets))
		for i, in := range targets {
			want[i] = slices.IndexFunc(targets, func(outer target) bool {
				return outer.sink != "" && in.inside(outer.path) && in.seenFrom(outer.path)
			})
		}
		if got := outers(targets); !slices.Equal(got, want) {
			var paths []string
			for _, to := range targets {
				paths = append(paths, to.path+" "+to.sink)
			}
			t.Fatalf("got %v, want %v, of\n%s", got, want, strings.Join(paths, "\n"))
		}
	}
}
