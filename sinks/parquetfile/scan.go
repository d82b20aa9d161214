package parquetfile

import (
	"io"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// Lossy implements partfile.Format.
func (f *Format) Lossy(of partfile.Stored) string {
	return of.Coarser(int64(time.Second)/perSecond(f.options.Timestamps.arrow()), true)
}

// Scan implements partfile.Format. It reads the columns alone that the digest needs.
func (f *Format) Scan(in partfile.Input, of partfile.Stored, each func(flow.Sum) error) error {
	wanted := of.Columns()
	keep := func(column string) bool { return slices.Contains(wanted, column) }
	return read(io.NewSectionReader(in, 0, in.Size()), keep, func(rec arrow.Record) error { return of.EachRecord(rec, each) })
}
