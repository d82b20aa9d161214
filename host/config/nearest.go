package config

import (
	"slices"
	"strconv"
	"strings"
)

// nearest returns the candidate with the smallest edit distance to s, if it is close enough to be what was meant, or the
// only one that begins with s; "" if there is none. Letters' case and the difference of - and _ don't count.
func nearest(s string, candidates []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	best, distance := "", 1+max(1, min(3, len(s)/3))
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := editDistance(fold(s), fold(c), distance); d < distance && d < max(len(s), len(c)) {
			best, distance = c, d
		}
	}
	if best != "" || len(s) < 3 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(fold(c), fold(s)) {
			if best != "" {
				return "" // it could be either
			}
			best = c
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours; it gives up at limit.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// quoteList joins words: `"a", "b" or "c"`.
func quoteList(words []string) string { return orList(quoted(words)) }

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return out
}

// orList joins words by commas and a last "or".
func orList(words []string) string { return joined(words, " or ") }

// andList joins words by commas and a last "and".
func andList(words []string) string { return joined(words, " and ") }

func joined(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

// didYouMean is the hint for a name that isn't known: the nearest one, else all of them if they are few.
func didYouMean(name string, known []string) string {
	if n := nearest(name, known); n != "" {
		return "did you mean " + strconv.Quote(n) + "?"
	}
	if len(known) == 0 || len(known) > 24 {
		return ""
	}
	return "known: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
