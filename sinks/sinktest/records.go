package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Schema is the stream's that the suite writes: one of lines.
var Schema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColTimestamp, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
	{Name: flow.ColAttributes, Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

// Stream is what the sink has to be opened for.
func Stream() sinks.Stream {
	return sinks.Stream{Name: "events", Selection: flow.SelectionID{1, 2, 3}, Schema: Schema, PartitionBy: "log_id"}
}

// Day is the day on which the suite's slices lie.
var Day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// Partition returns a partition of Stream.
func Partition(key string) flow.Partition {
	s := Stream()
	return flow.Partition{Selection: s.Selection, Stream: s.Name, Key: key}
}

// Hours returns the slice of a partition from one hour of Day to another.
func Hours(key string, from, to int) flow.Slice {
	return flow.NewSlice(Partition(key), Day.Add(time.Duration(from)*time.Hour), Day.Add(time.Duration(to)*time.Hour), 0)
}

// Bodies returns n bodies of a slice: no two alike, in no two slices, some of them awkward.
func Bodies(s flow.Slice, n int) []string {
	awkward := []string{"", " \"quoted\", and\\ ", "tab\tnul\x00bell\a", "ünï→😀", "\r", strings.Repeat("x", 3000)}
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s %d %d %s", s.ID, s.Rev, i, awkward[i%len(awkward)])
	}
	return out
}

// Batch returns a batch of a slice. The caller releases its Records.
func Batch(alloc memory.Allocator, s flow.Slice, seq uint64, bodies []string) flow.Batch {
	b := array.NewRecordBuilder(alloc, Schema)
	defer b.Release()
	attributes := b.Field(3).(*array.MapBuilder)
	for i, body := range bodies {
		if i%3 == 2 {
			b.Field(0).AppendNull()
			attributes.AppendNull()
		} else {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(s.From.UnixNano() + int64(i)))
			attributes.Append(true)
			attributes.KeyBuilder().(*array.StringBuilder).Append("k")
			attributes.ItemBuilder().(*array.StringBuilder).Append(fmt.Sprint(i))
		}
		b.Field(1).(*array.StringBuilder).Append(body)
		b.Field(2).(*array.StringBuilder).Append(s.Key)
		b.Field(4).AppendNull()
	}
	return flow.Batch{Slice: s.ID, Seq: seq, Records: b.NewRecord()}
}

// Overwrite fills a record's buffers with rubbish, as a pool does with memory that it hands out again.
func Overwrite(rec arrow.Record) {
	var fill func(d arrow.ArrayData)
	fill = func(d arrow.ArrayData) {
		for _, b := range d.Buffers() {
			if b != nil {
				for i := range b.Bytes() {
					b.Bytes()[i] = 0xA5
				}
			}
		}
		for _, c := range d.Children() {
			fill(c)
		}
	}
	for _, c := range rec.Columns() {
		fill(c.Data())
	}
}

// Account returns the account of bodies that were all delivered.
func Account(bodies []string) sinks.Account {
	var sum flow.Sum
	for _, b := range bodies {
		sum.Add([]byte(b))
	}
	return sinks.Account{Read: sum, Delivered: sum, Source: sinks.SourceInfo{Name: "sinktest", Version: "1.0.0"}}
}

// batchRows is how many rows Append puts in a batch.
const batchRows = 7

// Append appends bodies in batches, each overwritten as soon as Append has returned.
func Append(ctx context.Context, tx sinks.Txn, s flow.Slice, bodies []string) error {
	var seq uint64
	for part := range slices.Chunk(bodies, batchRows) {
		b := Batch(memory.DefaultAllocator, s, seq, part)
		rejected, err := tx.Append(ctx, b)
		Overwrite(b.Records)
		b.Records.Release()
		if err != nil {
			return err
		}
		if len(rejected) > 0 {
			return fmt.Errorf("row %d was rejected: %s", rejected[0].Row, rejected[0].Reason)
		}
		seq++
	}
	return nil
}

// Write carries a slice as a pipeline does: Begin, Append, Commit, and Abort after an error.
func Write(ctx context.Context, k sinks.Sink, s flow.Slice, bodies []string) (sinks.Receipt, error) {
	tx, err := k.Begin(ctx, s, 0, Schema)
	if err != nil {
		return sinks.Receipt{}, fmt.Errorf("begin: %w", err)
	}
	if err := Append(ctx, tx, s, bodies); err != nil {
		return sinks.Receipt{}, errors.Join(fmt.Errorf("append: %w", err), tx.Abort())
	}
	r, err := tx.Commit(ctx, Account(bodies))
	if err != nil {
		return sinks.Receipt{}, errors.Join(fmt.Errorf("commit: %w", err), tx.Abort())
	}
	return r, nil
}
