package ipcfile

import (
	"io"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// Lossy implements partfile.Format: types stay what they are, but for the unit of timestamps if one was asked for.
func (f *Format) Lossy(of partfile.Stored) string {
	if f.unit == AsSent {
		return ""
	}
	return of.Coarser(f.unit.arrow().Multiplier().Nanoseconds(), false)
}

// Scan implements partfile.Format.
func (f *Format) Scan(in partfile.Input, of partfile.Stored, each func(flow.Sum) error) error {
	return Read(io.NewSectionReader(in, 0, in.Size()), func(rec arrow.Record) error { return of.EachRecord(rec, each) })
}
