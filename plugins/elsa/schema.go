package elsa

import (
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// streamEvents is the one stream: the logs of a project.
const streamEvents = "events"

// Columns that the vendor adds.
const (
	colProjectName    = "project_name"
	colProjectVersion = "project_version"
	colHost           = "host"
	colLogSource      = "log_source"
	colLogType        = "log_type"
	colSendTime       = "send_time"
)

// The vendor's documented fields. Every other field is the user's own.
const (
	fieldBody           = "body"
	fieldLogTime        = "logTime"
	fieldSendTime       = "sendTime"
	fieldLogLevel       = "logLevel"
	fieldProjectName    = "projectName"
	fieldProjectVersion = "projectVersion"
	fieldHost           = "host"
	fieldLogSource      = "logSource"
	fieldLogType        = "logType"
)

// documentedFields are the fields that any record may be known by.
var documentedFields = []string{
	fieldBody, fieldLogTime, fieldSendTime, fieldLogLevel, fieldProjectName, fieldProjectVersion, fieldHost, fieldLogSource, fieldLogType,
}

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
		column(colProjectName, text, true),
		column(colProjectVersion, text, true),
		column(colHost, text, true),
		column(colLogSource, text, true),
		column(colLogType, text, true),
		column(colSendTime, instant, true),
		column(flow.ColBodyRaw, arrow.BinaryTypes.Binary, true),
	}, nil)
}

// constant says which columns have one value in a slice.
func constant(name string) bool {
	switch name {
	case flow.ColObservedTimestamp, flow.ColReceivedFrom, flow.ColReceivedTo, flow.ColSource, flow.ColLogID:
		return true
	}
	return false
}

// frameSchema is the schema of the batches: the columns that vary, in the stream's order.
func frameSchema(schema *arrow.Schema) *arrow.Schema {
	return selectColumns(schema, func(name string) bool { return !constant(name) })
}

func selectColumns(schema *arrow.Schema, keep func(string) bool) *arrow.Schema {
	var fields []arrow.Field
	for _, f := range schema.Fields() {
		if keep(f.Name) {
			fields = append(fields, f)
		}
	}
	return arrow.NewSchema(fields, nil)
}

// constants returns the one-row record of the columns with one value in the slice; the caller releases it.
func constants(mem memory.Allocator, schema *arrow.Schema, s flow.Slice, observed time.Time) arrow.Record {
	b := array.NewRecordBuilder(mem, selectColumns(schema, constant))
	defer b.Release()
	instants := map[string]time.Time{
		flow.ColObservedTimestamp: observed, flow.ColReceivedFrom: s.From, flow.ColReceivedTo: s.To,
	}
	texts := map[string]string{flow.ColSource: Name, flow.ColLogID: s.Key}
	for i, f := range b.Schema().Fields() {
		if t, ok := instants[f.Name]; ok {
			b.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(t.UnixNano()))
		} else {
			b.Field(i).(*array.StringBuilder).Append(texts[f.Name])
		}
	}
	return b.NewRecord()
}

func streams() []plugins.Stream {
	return []plugins.Stream{{
		Name: streamEvents, Kind: plugins.Time, Schema: eventSchema(), PartitionBy: "log_id", Main: true,
		Description: "The logs of a project, selected by their logTime and in its order.",
		Buffer:      readBuffer,
	}}
}

// readBuffer is what a read holds beside what it has sent: packed rows and their index, both as they grow, windows on the text and the
// spool, and the batch that is being filled.
const readBuffer = 2*sortMemory + 2*int64(rowRefBytes)*maxCount + 4*feedBlock + 4<<20

// severities are the numbers that the OpenTelemetry log data model gives to names of levels.
var severities = map[string]int32{
	"TRACE": 1, "FINEST": 1, "FINER": 2, "VERBOSE": 3,
	"DEBUG": 5, "FINE": 5, "CONFIG": 8,
	"INFO": 9, "INFORMATION": 9, "INFORMATIONAL": 9, "NOTICE": 10,
	"WARN": 13, "WARNING": 13,
	"ERROR": 17, "ERR": 17, "SEVERE": 17, "CRITICAL": 18, "CRIT": 18, "ALERT": 19,
	"FATAL": 21, "EMERG": 21, "EMERGENCY": 21, "PANIC": 21,
}

// severityNumber returns the number of a level's name, 0 for a name that says nothing.
func severityNumber(text []byte) int32 {
	if n, ok := severities[string(text)]; ok { // as it mostly is written, without an allocation
		return n
	}
	return severities[strings.ToUpper(strings.TrimSpace(string(text)))]
}
