package plugins

import (
	"sort"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/wire"
)

// nextCut returns the end of the next frame of a record that is sent from row from on: so many rows that the rest falls
// into frames of about the same size, none longer than most bytes unless one record is, and none of more than mostRows rows.
func nextCut(r arrow.Record, from int, most int64, mostRows int) int {
	rows := int(r.NumRows())
	end := min(rows, from+mostRows)
	rest := wire.SizeOf(r, from, rows)
	if rest <= most {
		return end
	}
	frames := (rest + most - 1) / most
	target := rest / frames
	// The first row count that reaches the target, if it stays below the limit; else the last that does.
	n := 1 + sort.Search(end-from-1, func(i int) bool { return wire.SizeOf(r, from, from+1+i) >= target })
	if n > 1 && wire.SizeOf(r, from, from+n) > most {
		n--
	}
	return from + n
}
