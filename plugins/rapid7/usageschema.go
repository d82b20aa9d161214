package rapid7

import (
	"context"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// StreamUsage is the name of the stream of usage.
const StreamUsage = "usage"

// Columns of the stream of usage beside those of log streams.
const (
	colDay        = "day"
	colBytes      = "bytes"
	colPeriodFrom = "period_from"
	colPeriodTo   = "period_to"
)

var usageSchema = arrow.NewSchema([]arrow.Field{
	{Name: colDay, Type: arrow.FixedWidthTypes.Date32},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: flow.ColLogName, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: colBytes, Type: arrow.PrimitiveTypes.Int64},
	{Name: colPeriodFrom, Type: arrow.FixedWidthTypes.Date32, Nullable: true},
	{Name: colPeriodTo, Type: arrow.FixedWidthTypes.Date32, Nullable: true},
	{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
	{Name: flow.ColObservedTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
}, nil)

// UsageStream is the stream that a Usage reads. What may change from read to read isn't in its digest: names, the answer's
// period, the clock.
func UsageStream() plugins.Stream {
	return plugins.Stream{
		Name: StreamUsage, Kind: plugins.Time, Schema: usageSchema, Granularity: day,
		DigestColumns: []string{colDay, flow.ColLogID, colBytes}, Buffer: usageBuffer,
		Description: "Bytes that each log received on each UTC day; a log that received none is absent.",
	}
}

// usageBuffer is what a read holds beside what it has sent: an answer and what is made of it, which takes some four times its bytes.
const usageBuffer = 5 * maxUsageAnswer

// batchRows bounds a batch, which the SDK cuts into frames.
const batchRows = 8192

func (u *Usage) emit(ctx context.Context, r reply, out plugins.Emitter) error {
	figures := u.keep(r.Figures.Figures)
	names := map[string]string{}
	if u.Names != nil && len(figures) > 0 && u.Form != UsageOrganization && u.Form != UsageAccount {
		var err error
		if names, err = u.Names.get(ctx, out.Waiting); err != nil {
			return err
		}
	}
	if counter, ok := out.(plugins.Counter); ok && u.Names != nil && names == nil {
		counter.Count("without_names", 1)
	}
	observed := arrow.Timestamp(u.Now().UnixNano())
	for len(figures) > 0 {
		n := min(len(figures), batchRows)
		rec := u.record(figures[:n], r, names, observed)
		err := out.Batch(ctx, rec)
		rec.Release()
		if err != nil {
			return err
		}
		figures = figures[n:]
	}
	return nil
}

func (u *Usage) record(figures []Figure, r reply, names map[string]string, observed arrow.Timestamp) arrow.Record {
	b := array.NewRecordBuilder(u.Mem, usageSchema)
	defer b.Release()
	text := func(column int, v string) {
		if v == "" {
			b.Field(column).AppendNull()
			return
		}
		b.Field(column).(*array.StringBuilder).Append(v)
	}
	for _, f := range figures {
		b.Field(0).(*array.Date32Builder).Append(arrow.Date32FromTime(f.Day))
		text(1, f.LogID)
		text(2, names[f.LogID])
		b.Field(3).(*array.Int64Builder).Append(f.Bytes)
		if r.From.IsZero() {
			b.Field(4).AppendNull()
			b.Field(5).AppendNull()
		} else {
			b.Field(4).(*array.Date32Builder).Append(arrow.Date32FromTime(r.From))
			b.Field(5).(*array.Date32Builder).Append(arrow.Date32FromTime(r.To))
		}
		b.Field(6).(*array.StringBuilder).Append(u.Source)
		b.Field(7).(*array.TimestampBuilder).Append(observed)
	}
	return b.NewRecord()
}
