package logentries

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/proto/flow"
)

// Columns that aren't of every log stream.
const (
	colSequence   = "sequence_number"
	colLabels     = "labels"
	colSnapshotAt = "snapshot_at"
	colID         = "id"
	colRecord     = "record"
)

var (
	instant = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	text    = arrow.BinaryTypes.String
)

func column(name string, t arrow.DataType, nullable bool) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: nullable}
}

func eventSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		column(flow.ColTimestamp, instant, true),
		column(flow.ColObservedTimestamp, instant, false),
		column(flow.ColReceivedFrom, instant, false),
		column(flow.ColReceivedTo, instant, false),
		column(flow.ColSeverityText, text, true),
		column(flow.ColSeverityNumber, arrow.PrimitiveTypes.Int32, true),
		column(flow.ColBody, text, false),
		column(flow.ColSource, text, false),
		column(flow.ColLogID, text, false),
		column(flow.ColLogName, text, true),
		column(flow.ColAttributes, arrow.MapOf(text, text), true),
		column(flow.ColBodyRaw, arrow.BinaryTypes.Binary, true),
		column(colSequence, arrow.PrimitiveTypes.Uint64, true),
		column(colLabels, arrow.ListOf(text), true),
	}, nil)
}

// varies says which columns differ from event to event; all others have one value in a slice.
func varies(name string) bool {
	switch name {
	case flow.ColTimestamp, flow.ColBody, flow.ColAttributes, flow.ColBodyRaw, colSequence, colLabels:
		return true
	}
	return false
}

func project(schema *arrow.Schema, keep func(string) bool) *arrow.Schema {
	var fields []arrow.Field
	for _, f := range schema.Fields() {
		if keep(f.Name) {
			fields = append(fields, f)
		}
	}
	return arrow.NewSchema(fields, nil)
}

// constants returns the one-row record of the columns with one value in the slice; the caller releases it.
func constants(mem memory.Allocator, schema *arrow.Schema, s flow.Slice, observed time.Time, logName string) arrow.Record {
	b := array.NewRecordBuilder(mem, project(schema, func(name string) bool { return !varies(name) }))
	defer b.Release()
	instants := map[string]time.Time{
		flow.ColObservedTimestamp: observed, flow.ColReceivedFrom: s.From, flow.ColReceivedTo: s.To,
	}
	texts := map[string]string{flow.ColSource: Name, flow.ColLogID: s.Key}
	if logName != "" {
		texts[flow.ColLogName] = logName
	}
	for i, f := range b.Schema().Fields() {
		if t, ok := instants[f.Name]; ok {
			b.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(t.UnixNano()))
		} else if text, ok := texts[f.Name]; ok {
			b.Field(i).(*array.StringBuilder).Append(text)
		} else {
			b.Field(i).AppendNull()
		}
	}
	return b.NewRecord()
}

// What a read holds beside what it has sent, in bytes: of events the answers that the pager has room for, the last of which may take half as
// much again while it is read (one page that is being emitted, one that waits and one that is being read, or a large event alone); of
// snapshots one object; of both the batch that is being filled.
const (
	eventBuffer    = singleBytes + singleBytes/2 + 4<<20
	snapshotBuffer = 5 << 20
)

func streams() []plugins.Stream {
	out := []plugins.Stream{{
		Name: streamEvents, Kind: plugins.Time, Schema: eventSchema(), PartitionBy: flow.ColLogID, Main: true,
		Description: "The events of a log with the time at which the vendor received each.",
		Buffer:      eventBuffer,
	}}
	for _, s := range snapshots {
		out = append(out, plugins.Stream{
			Name: s.stream, Kind: plugins.Snapshot, Schema: s.schema(), DigestColumns: s.digest(), Description: s.description,
			Buffer: snapshotBuffer,
		})
	}
	return append(out, rapid7.UsageStream())
}
