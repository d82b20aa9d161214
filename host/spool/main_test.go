package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var schema = arrow.NewSchema([]arrow.Field{
	{Name: flow.ColSource, Type: arrow.BinaryTypes.String},
	{Name: flow.ColBody, Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "code", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
}, nil)

var origin = Origin{Source: "fake", Version: "1.0.0", Sluice: "test", Settings: "0123"}

var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func sliceOf(hour int) flow.Slice {
	p := flow.Partition{Stream: "events", Key: "a"}
	from := midnight.Add(time.Duration(hour) * time.Hour)
	return flow.NewSlice(p, from, from.Add(time.Hour), 0)
}

// content is what a fake read gives, with its manifest.
type content struct {
	header   Header
	items    []flow.Item
	manifest flow.Manifest
}

// newContent makes batches, the source's column constant, some codes null, and dead letters in pieces.
func newContent(t testing.TB, s flow.Slice, seed uint64, batches, rows int) *content {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	layout, err := wire.NewLayout(schema, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	defer layout.Release()
	one := array.NewStringBuilder(memory.DefaultAllocator)
	defer one.Release()
	one.Append("fake")
	col := one.NewArray()
	defer col.Release()
	row := array.NewRecord(arrow.NewSchema(schema.Fields()[:1], nil), []arrow.Array{col}, 1)
	defer row.Release()
	oneRow, err := layout.EncodeConstants(row)
	if err != nil {
		t.Fatal(err)
	}
	c := &content{
		header: Header{
			Slice: s, Origin: origin, Schema: schema, Constants: []int{0}, OneRow: oneRow,
			VendorTime: midnight.AddDate(0, 0, 1), ReadAt: midnight.AddDate(0, 0, 1),
		},
		manifest: flow.Manifest{Slice: s},
	}
	for n := range batches {
		source, body, code := array.NewStringBuilder(memory.DefaultAllocator), array.NewStringBuilder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
		for range rows {
			text := fmt.Sprintf("line %d of a log with words that come again", rng.Uint64())
			source.Append("fake")
			body.Append(text)
			if n%2 == 0 {
				code.AppendNull()
			} else {
				code.Append(rng.Int64())
			}
			c.manifest.Add([]byte(text))
		}
		columns := []arrow.Array{source.NewArray(), body.NewArray(), code.NewArray()}
		rec := array.NewRecord(schema, columns, int64(rows))
		for _, x := range columns {
			x.Release()
		}
		source.Release()
		body.Release()
		code.Release()
		c.items = append(c.items, flow.Item{Batch: &flow.Batch{Slice: s.ID, Seq: uint64(n), Records: rec, Bytes: 77}})
	}
	dead := []byte("a record that is unfit, in two pieces")
	c.manifest.Add(dead)
	c.items = append(c.items,
		flow.Item{Dead: &flow.DeadPiece{Bytes: dead[:10]}},
		flow.Item{Dead: &flow.DeadPiece{Offset: 10, Bytes: dead[10:], Last: true, Reason: "unfit"}})
	t.Cleanup(func() {
		for _, it := range c.items {
			if it.Batch != nil {
				it.Batch.Records.Release()
			}
		}
	})
	return c
}

func openStore(t testing.TB, dir string, max int64) *Store {
	t.Helper()
	s, err := Open(dir, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// keep spools content.
func (c *content) keep(t testing.TB, s *Store) {
	t.Helper()
	w, err := s.Create(c.header)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range c.items {
		if err := w.Write(it); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(c.manifest, map[string]uint64{"retries": 3}); err != nil {
		t.Fatal(err)
	}
}

// read reads all of a slice and proves it as a pipeline does.
func read(s *Store, slice flow.Slice) (sum flow.Sum, r *Reader, err error) {
	r, err = s.Open(slice, schema, origin)
	if err != nil {
		return sum, nil, err
	}
	defer r.Close()
	hasher := flow.NewHasher()
	for {
		it, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return sum, r, nil
		}
		if err != nil {
			return sum, r, err
		}
		if it.Batch != nil {
			one, err := flow.SumRecord(it.Batch.Records)
			if err != nil {
				return sum, r, err
			}
			sum = sum.Plus(one)
		} else {
			_, _ = hasher.Write(it.Dead.Bytes)
			if it.Dead.Last {
				sum = sum.Plus(hasher.Sum())
			}
		}
		r.Release(it)
	}
}

func path(s *Store, slice flow.Slice) string { return filepath.Join(s.dir, slice.ID.String()+sealed) }

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}

func mustWrite(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
