package rapid7download

import (
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// streamEvents is the one stream: the lines of a log.
const streamEvents = "events"

func eventSchema() *arrow.Schema {
	instant := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	text := arrow.BinaryTypes.String
	column := func(name string, t arrow.DataType, nullable bool) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: nullable}
	}
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
	}, nil)
}

// varies says which columns differ from record to record; all others have one value in a slice. Timestamps do if the
// settings say where they come from.
func varies(name string, timed bool) bool {
	return name == flow.ColBody || name == flow.ColBodyRaw || timed && name == flow.ColTimestamp
}

// frameSchema is the schema of the batches: the columns that vary, in the stream's order.
func frameSchema(schema *arrow.Schema, timed bool) *arrow.Schema {
	return project(schema, func(name string) bool { return varies(name, timed) })
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

// constants returns the one-row record of the columns with one value in the slice; the caller releases it. The vendor
// tells no times, severities, attributes or log names: those are null.
func constants(mem memory.Allocator, schema *arrow.Schema, timed bool, s flow.Slice, observed time.Time) arrow.Record {
	b := array.NewRecordBuilder(mem, project(schema, func(name string) bool { return !varies(name, timed) }))
	defer b.Release()
	instants := map[string]time.Time{
		flow.ColObservedTimestamp: observed, flow.ColReceivedFrom: s.From, flow.ColReceivedTo: s.To,
	}
	texts := map[string]string{flow.ColSource: Name, flow.ColLogID: s.Key}
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

func streams() []plugins.Stream {
	return []plugins.Stream{{
		Name: streamEvents, Kind: plugins.Time, Schema: eventSchema(), PartitionBy: flow.ColLogID, Main: true,
		Description: "The lines of a log as they were sent to the vendor, selected by the time the vendor received them.",
		Buffer:      readBuffer,
	}}
}

// readBuffer is what a read holds beside what it has sent: the blocks of bytes read ahead, and the batch that is being filled.
const readBuffer = blockCount*blockSize + frameMax
