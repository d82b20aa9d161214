package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// logSchema is one of lines that say of which slice they are.
var logSchema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColReceivedFrom, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
	{Name: flow.ColReceivedTo, Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String},
	{Name: flow.ColLogID, Type: arrow.BinaryTypes.String},
	{Name: flow.ColBodyRaw, Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

// carry commits records that have a digest.
func carry(t *testing.T, k *Sink, s flow.Slice, rec arrow.Record, digest []string) sinks.Receipt {
	t.Helper()
	tx, err := k.Begin(t.Context(), s, 0, rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	var sum flow.Sum
	if err := flow.EachRecord(rec, digest, func(s flow.Sum) error { sum = sum.Plus(s); return nil }); err != nil {
		t.Fatal(err)
	}
	if rejected, err := tx.Append(t.Context(), flow.Batch{Slice: s.ID, Records: rec}); err != nil || len(rejected) > 0 {
		t.Fatal(rejected, err)
	}
	r, err := tx.Commit(t.Context(), sinks.Account{Read: sum, Delivered: sum})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// carryLines commits lines that say of which slice they are.
func carryLines(t *testing.T, k *Sink, s flow.Slice, lines ...string) sinks.Receipt {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, logSchema)
	defer b.Release()
	for _, l := range lines {
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(s.From.UnixNano()))
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(s.To.UnixNano()))
		b.Field(2).(*array.StringBuilder).Append(l)
		b.Field(3).(*array.StringBuilder).Append(s.Key)
		b.Field(4).AppendNull()
	}
	rec := b.NewRecord()
	defer rec.Release()
	return carry(t, k, s, rec, nil)
}

// testAudit reads slices back whose rows were changed by hand.
func (r rig) testAudit(t *testing.T) {
	database := r.Database(t)
	c := r.config(database, nil)
	c.Streams[0].Schema = logSchema
	k := r.open(t, c)
	lines := func(s flow.Slice, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("%s %d %d nul\x00 %s", s.Key, s.From.Hour(), i, s.ID))
		}
		return out
	}
	one, two, other := sinktest.Hours("one", 0, 1), sinktest.Hours("one", 1, 2), sinktest.Hours("other", 0, 1)
	late := flow.NewSlice(two.Partition, two.From, two.To, 1)
	receipts := map[string]sinks.Receipt{
		"one": carryLines(t, k, one, lines(one, 20)...), "two": carryLines(t, k, two, lines(two, 20)...),
		"late": carryLines(t, k, late, lines(late, 3)...), "other": carryLines(t, k, other, lines(other, 20)...),
	}
	check := func(wrong, kind, says string) {
		t.Helper()
		for name, receipt := range receipts {
			rows := uint64(0)
			found, err := k.Audit(t.Context(), receipt, func(flow.Sum) error { rows++; return nil })
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case !strings.Contains(wrong, name) && (len(found) > 0 || rows != receipt.Delivered.Rows):
				t.Errorf("%s: %d rows, %+v", name, rows, found)
			case strings.Contains(wrong, name) && (len(found) != 1 || string(found[0].Kind) != kind || !strings.Contains(found[0].What, says)):
				t.Errorf("%s: %+v, want %s and %q", name, found, kind, says)
			}
		}
	}
	check("", "", "")
	r.Exec(t, database, `update events set body_raw = '\x00' where ctid = (select min(ctid) from events where log_id = 'one' and received_from = '`+one.From.Format(time.RFC3339)+`')`)
	check("one", "differs", "bytes")
	r.Exec(t, database, `delete from events where ctid = (select min(ctid) from events where log_id = 'other')`)
	check("one other", "differs", "")
	r.Exec(t, database, `insert into events select * from events where ctid = (select max(ctid) from events where log_id = 'other')`,
		`insert into events select * from events where ctid = (select max(ctid) from events where log_id = 'other')`)
	check("one other", "differs", "")
	r.Exec(t, database, `delete from events where log_id <> 'one' or received_from = '`+one.From.Format(time.RFC3339)+`'`)
	check("one other", "missing", "20 are gone")

	enough := errors.New("enough")
	if _, err := k.Audit(t.Context(), receipts["two"], func(flow.Sum) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("each failed: %v", err)
	}
	r.Exec(t, database, `drop table events`)
	check("one two late other", "missing", "the table isn't there")
}

// testAuditTypes has a digest of columns of every type.
func (r rig) testAuditTypes(t *testing.T) {
	var fields []arrow.Field
	for _, f := range filetest.Schema().Fields() {
		if f.Type.ID() != arrow.STRING && f.Type.ID() != arrow.LARGE_STRING && !arrow.IsNested(f.Type.ID()) { // those have a NUL
			fields = append(fields, f)
		}
	}
	schema := arrow.NewSchema(fields, nil)
	rec := filetest.Record(memory.DefaultAllocator, rand.New(rand.NewPCG(5, 5)), schema, 60, 0.2)
	defer rec.Release()
	st := sinks.Stream{Name: "types", Selection: flow.SelectionID{9}, Schema: schema}
	for i, f := range schema.Fields() {
		if _, err := flow.SumColumns(rec, []string{f.Name}); err != nil || rec.Column(i).NullN() == 60 {
			continue
		}
		one := st
		one.DigestColumns = []string{f.Name}
		dec, err := newRowDecoder(one)
		if err != nil {
			t.Fatal(err)
		}
		if dec.lossy() == "" {
			st.DigestColumns = append(st.DigestColumns, f.Name)
		}
		dec.close()
	}
	if len(st.DigestColumns) < 15 {
		t.Fatalf("columns %v", st.DigestColumns)
	}
	c := r.config(r.Database(t), nil)
	c.Streams = []sinks.Stream{st}
	k := r.open(t, c)
	s := flow.NewSlice(flow.Partition{Selection: st.Selection, Stream: st.Name}, sinktest.Day, sinktest.Day.AddDate(0, 0, 1), 0)
	receipt := carry(t, k, s, rec, st.DigestColumns)
	if found, err := k.Audit(t.Context(), receipt, func(flow.Sum) error { return nil }); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
	// A nanosecond is more than the table holds.
	st.DigestColumns = []string{"c26"}
	k.config.Streams = []sinks.Stream{st}
	var inexact *sinks.InexactError
	if found, err := k.Audit(t.Context(), receipt, func(flow.Sum) error { return nil }); len(found) > 0 || !errors.As(err, &inexact) || !strings.Contains(inexact.Why, "microseconds") {
		t.Errorf("%+v, %v, want an InexactError", found, err)
	}
}
