package pipeline

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// rowSums returns the Sum of each row of a batch.
func (s Stream) rowSums(rec arrow.Record) ([]flow.Sum, error) {
	out := make([]flow.Sum, 0, rec.NumRows())
	err := flow.EachRecord(rec, s.DigestColumns, func(one flow.Sum) error {
		out = append(out, one)
		return nil
	})
	return out, err
}

// pick returns the rows of a record as one of its own, which the caller releases: the record itself if they are all of it. rows ascend.
func pick(rec arrow.Record, rows []int) (arrow.Record, error) {
	if int64(len(rows)) == rec.NumRows() {
		rec.Retain()
		return rec, nil
	}
	columns := make([]arrow.Array, 0, rec.NumCols())
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for n, c := range rec.Columns() {
		picked, err := pickColumn(c, rows)
		if err != nil {
			return nil, fault.New(fault.Bug, "recheck", "report this to the plugin's author", fmt.Errorf("column %s: %w", rec.ColumnName(n), err))
		}
		columns = append(columns, picked)
	}
	return array.NewRecord(rec.Schema(), columns, int64(len(rows))), nil
}

// pickColumn copies some rows, run by run.
func pickColumn(c arrow.Array, rows []int) (arrow.Array, error) {
	var runs []arrow.Array
	defer func() {
		for _, x := range runs {
			x.Release()
		}
	}()
	for n := 0; n < len(rows); {
		end := n + 1
		for end < len(rows) && rows[end] == rows[end-1]+1 {
			end++
		}
		runs = append(runs, array.NewSlice(c, int64(rows[n]), int64(rows[end-1])+1))
		n = end
	}
	return array.Concatenate(runs, memory.DefaultAllocator)
}
