package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"google.golang.org/grpc/mem"

	"github.com/sluice-io/sluice/proto/arena"
)

func mustLayout(t testing.TB, schema *arrow.Schema, constants ...int) *Layout {
	t.Helper()
	l, err := NewLayout(schema, constants)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

// travel sends a record through frame and codec, cut into HTTP/2-sized pieces.
func travel(t testing.TB, l *Layout, rec arrow.Record, pool *arena.Pool) (*InMessage, mem.BufferSlice) {
	t.Helper()
	f, err := l.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	out := OutBatch{Seq: 7, Frame: f}
	c := CodecWith(pool, nil)
	data, err := c.Marshal(&out)
	if err != nil {
		t.Fatal(err)
	}
	if data.Len() != out.Size() {
		t.Fatalf("message of %d bytes, Size says %d", data.Len(), out.Size())
	}
	flat := data.Materialize()
	data.Free()
	f.Release()
	var pieces mem.BufferSlice
	for len(flat) > 0 {
		n := min(16384, len(flat))
		pieces = append(pieces, mem.SliceBuffer(flat[:n]))
		flat = flat[n:]
	}
	in := &InMessage{}
	if err := c.Unmarshal(pieces, in); err != nil {
		t.Fatal(err)
	}
	return in, pieces
}

func wantEqual(t testing.TB, want, got arrow.Record) {
	t.Helper()
	if array.RecordEqual(want, got) {
		return
	}
	for i, col := range want.Columns() {
		if !array.Equal(col, got.Column(i)) {
			t.Fatalf("column %q:\nwant %v\ngot  %v", want.ColumnName(i), col, got.Column(i))
		}
	}
	t.Fatal("records differ")
}

func TestFrameRoundTrip(t *testing.T) {
	schema := wideSchema()
	alloc := checked(t)
	pool := arena.NewPool(1 << 20)
	l := mustLayout(t, schema)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rec := randomRecord(rng, alloc, schema, 1+rng.IntN(300))
		from := rng.IntN(int(rec.NumRows()))
		to := from + 1 + rng.IntN(int(rec.NumRows())-from)
		for _, part := range []arrow.Record{rec.NewSlice(0, rec.NumRows()), rec.NewSlice(int64(from), int64(to))} {
			in, _ := travel(t, l, part, pool)
			got, err := l.Decode(in.Batch, Limits{})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			in.Release()
			wantEqual(t, part, got)
			got.Release()
			part.Release()
		}
		rec.Release()
	}
}

// Both directions against the library: what it writes is read here, what is written here is read by it.
func TestFramesAreArrowIPC(t *testing.T) {
	schema := wideSchema()
	alloc := checked(t)
	l := mustLayout(t, schema)
	prefix, err := EncodeSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		rec := randomRecord(rng, alloc, schema, 1+rng.IntN(200))
		part := rec.NewSlice(int64(rng.IntN(int(rec.NumRows()))), rec.NumRows())

		f, err := l.encode(part, true)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ipc.NewReader(bytes.NewReader(append(bytes.Clone(prefix), f.Bytes()...)), ipc.WithAllocator(alloc))
		if err != nil {
			t.Fatal(err)
		}
		if !r.Next() {
			t.Fatalf("seed %d: the library reads no record: %v", seed, r.Err())
		}
		wantEqual(t, part, r.Record())
		r.Release()
		f.Release()

		var stream bytes.Buffer
		w := ipc.NewWriter(&stream, ipc.WithSchema(schema), ipc.WithAllocator(memory.DefaultAllocator))
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		msg := stream.Bytes()[len(prefix):]
		root := memory.NewBufferBytes(append(make([]byte, 0, len(msg)), msg...))
		got, err := l.decode(root, 0, root.Len(), int(part.NumRows()), nil)
		if err != nil {
			t.Fatalf("seed %d: reading the library's message: %v", seed, err)
		}
		wantEqual(t, part, got)
		got.Release()
		part.Release()
		rec.Release()
	}
}

func TestConstantsTravelOnce(t *testing.T) {
	alloc := checked(t)
	schema := logSchema()
	constants := []int{1, 2, 4}
	sender, receiver := mustLayout(t, schema, constants...), mustLayout(t, schema, constants...)
	rng := rand.New(rand.NewPCG(1, 1))
	one := array.NewRecordBuilder(alloc, arrow.NewSchema([]arrow.Field{schema.Field(1), schema.Field(2), schema.Field(4)}, nil))
	one.Field(0).(*array.TimestampBuilder).Append(1_000_000)
	one.Field(1).AppendNull()
	one.Field(2).(*array.StringBuilder).Append("aee00b66-a543-43dc-b093-53963c2e8f41")
	row := one.NewRecord()
	one.Release()
	defer row.Release()
	msg, err := sender.EncodeConstants(row)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.slice(1, 3); err == nil {
		t.Error("a constant was spread before it was told")
	}
	if err := receiver.SetConstants(msg); err != nil {
		t.Fatal(err)
	}
	pool := arena.NewPool(0)
	for _, rows := range []int{5, 3, 700, 1} {
		rec := randomRecord(rng, alloc, sender.Partial(), rows)
		in, _ := travel(t, sender, rec, pool)
		got, err := receiver.Decode(in.Batch, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		in.Release()
		if got.NumRows() != int64(rows) || !got.Schema().Equal(schema) {
			t.Fatalf("got %d rows of %v", got.NumRows(), got.Schema())
		}
		for i, c := range constants {
			for _, at := range []int{0, rows - 1} {
				want := row.Column(i).ValueStr(0)
				if v := got.Column(c).ValueStr(at); v != want {
					t.Errorf("column %d row %d = %q, want %q", c, at, v, want)
				}
			}
		}
		if !array.Equal(rec.Column(1), got.Column(3)) {
			t.Error("body differs")
		}
		got.Release()
		rec.Release()
	}
}

// The record's values must not be copied, must stay until the transport is done, and must be let go then.
func TestFrameKeepsTheRecordUntilTheTransportIsDone(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "body", Type: arrow.BinaryTypes.String}}, nil)
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	b := array.NewRecordBuilder(alloc, schema)
	for i := range 5000 {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("line %d of many", i))
	}
	rec := b.NewRecord()
	b.Release()
	values := rec.Column(0).Data().Buffers()[2].Bytes()
	l := mustLayout(t, schema)
	f, err := l.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	rec.Release()
	data, err := Codec().Marshal(&OutBatch{Frame: f})
	if err != nil {
		t.Fatal(err)
	}
	f.Release()
	aliased := false
	for _, p := range data {
		if d := p.ReadOnlyData(); len(d) > 0 && &d[0] == &values[0] {
			aliased = true
		}
	}
	if !aliased {
		t.Error("the values were copied")
	}
	if alloc.CurrentAlloc() == 0 {
		t.Fatal("the record was let go before the transport was done")
	}
	data.Free()
	alloc.AssertSize(t, 0)
}

// A decoded record must hold its message: the pool overwrites what is released too early.
func TestRecordHoldsItsMessage(t *testing.T) {
	alloc := checked(t)
	schema := logSchema()
	l := mustLayout(t, schema)
	pool := arena.NewPool(8 << 20)
	pool.Overwrite()
	rng := rand.New(rand.NewPCG(3, 3))
	rec := randomRecord(rng, alloc, schema, 3000)
	defer rec.Release()
	in, _ := travel(t, l, rec, pool)
	got, err := l.Decode(in.Batch, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	in.Release()
	other, _ := travel(t, l, rec, pool)
	other.Release()
	wantEqual(t, rec, got)
	body := got.Column(3).(*array.String).ValueBytes()
	idle := pool.Idle()
	got.Release()
	if pool.Idle() <= idle {
		t.Error("the last release didn't give the block back")
	}
	if len(body) > 100 && bytes.Contains(body, []byte("GET")) {
		t.Error("the block wasn't overwritten: the test proves nothing")
	}
}
