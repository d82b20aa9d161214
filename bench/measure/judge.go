package main

import (
	"errors"
	"fmt"
)

// cliff is what no noise explains: a best round below a share of curl's throughput, a cheapest one above so many times curl's CPU, a round of
// so much memory.
type cliff struct {
	key   string
	share float64 // of curl's throughput, at least
	times float64 // curl's CPU, at most
	peak  float64 // MiB of host and plugin, at most
}

// cliffs lie a factor of four and more from what an idle machine measures, in memory less: a busy machine adds some tens of MiB, a leak
// hundreds.
var cliffs = []cliff{
	{keyRaw, 0.10, 20, 256},
	{keyNDJSON, 0.05, 35, 256},
	{keyParquet, 0.03, 60, 384},
}

// judge fails on a cliff: a throughput, a CPU time or a memory that a busy machine doesn't explain.
func judge(t table, cliffs []cliff) error {
	var errs []error
	curl := t.find(keyCurl)
	for _, c := range cliffs {
		i := t.find(c.key)
		title := t.cases[i].Title
		if best := t.ratios(i, curl, sample.throughput).max; best < c.share {
			errs = append(errs, fmt.Errorf("%s reached %.3f of curl > file at best, want at least %.2f", title, best, c.share))
		}
		if least := t.ratios(i, curl, sample.cpuPerGB).min; least > c.times {
			errs = append(errs, fmt.Errorf("%s took %.1f times the CPU of curl > file at least, want at most %.0f", title, least, c.times))
		}
		if took := t.spread(i, sample.peakMiB).max; took > c.peak {
			errs = append(errs, fmt.Errorf("%s: %.0f MiB of memory, want at most %.0f", title, took, c.peak))
		}
	}
	return errors.Join(errs...)
}
