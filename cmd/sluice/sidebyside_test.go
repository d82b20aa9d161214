package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"google.golang.org/grpc/mem"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/internal/realpart/s3"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/partfile/filetest"
)

// TestSinksSideBySide gives batches of every stream of every source, as they come over the wire, to all sinks of files and objects and to
// standard output at once, most in two of their formats: with the race detector it says whether they share anything but memory that is only
// read. What is constant in a slice is shared by its batches, too, while the next is decoded.
func TestSinksSideBySide(t *testing.T) {
	t.Parallel()
	server := s3.Start(t, "lake")
	for _, source := range builtinSources() {
		for _, stream := range source.Streams {
			t.Run(source.Name+"/"+stream.Name, func(t *testing.T) { besides(t, server, source.Name, stream) })
		}
	}
	t.Run("every type", func(t *testing.T) {
		fields := []arrow.Field{{Name: flow.ColBody, Type: arrow.BinaryTypes.String}}
		for i, f := range filetest.Schema().Fields() {
			if _, err := wire.NewLayout(arrow.NewSchema([]arrow.Field{f}, nil), nil); err != nil || f.Type.ID() == arrow.DECIMAL256 {
				continue // what no frame carries, and what Parquet doesn't
			}
			again := f
			again.Name = fmt.Sprint("constant", i) // both ways
			fields = append(fields, f, again)
		}
		besides(t, server, "types", plugins.Stream{Name: "types", Kind: plugins.Time, Schema: arrow.NewSchema(fields, nil)})
	})
}

// besides carries some slices of a stream into all sinks. Objects lie below the source's name.
func besides(t *testing.T, server *s3.Server, source string, stream plugins.Stream) {
	t.Helper()
	dir := fastDir(t)
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "state"), ledger.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	alloc := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer alloc.AssertSize(t, 0)
	const hours = 4
	part := flow.Partition{Selection: flow.SelectionID{1, 2, 3}, Stream: stream.Name}
	cfg := pipeline.Config{
		Name: "beside", SourceName: "test", SourceVer: "1.0.0", Version: "0.0.0-test", Partitions: []pipeline.Partition{{Partition: part}},
		Streams: map[string]pipeline.Stream{stream.Name: {DigestColumns: stream.DigestColumns, Schema: stream.Schema}},
		From:    seedStart, To: seedStart.Add(hours * time.Hour), HostClock: true, Window: 16 << 20, Parallel: 2, Attempts: 1,
		DeadPath: filepath.Join(dir, "dead"), DeadRecord: 1 << 20, Ledger: l, Log: slog.New(slog.DiscardHandler),
		Start: func(context.Context) (pipeline.Source, error) {
			return &wireSource{stream: stream, alloc: alloc, done: make(chan struct{})}, nil
		},
	}
	var printed bytes.Buffer
	folder := func(i int) string { return fmt.Sprintf(`"path": %q, `, filepath.Join(dir, fmt.Sprint(i))) }
	bucket := func(i int) string {
		return fmt.Sprintf(`"url": "s3://lake/%s/%s/%d", "endpoint": %q, "region": %q, "credentials": {"access_key": %q, "secret_key": %q}, `,
			source, stream.Name, i, server.Endpoint, s3.Region, s3.AccessKey, s3.SecretKey)
	}
	for i, s := range []struct {
		kind, settings string
		target         func(i int) string
	}{
		{"file", `"format": "ndjson"`, folder},
		{"file", `"format": "csv", "compression": "zstd"`, folder},
		{"parquet", `"timestamps": "ns"`, folder},
		{"parquet", `"compression": "snappy"`, folder},
		{"arrow", `"format": "file"`, folder},
		{"arrow", `"format": "stream", "compression": "zstd"`, folder},
		{"object", `"format": "ndjson", "compression": "zstd"`, bucket},
		{"object", `"format": "parquet"`, bucket},
		{"stdout", `"format": "ndjson"`, func(int) string { return "" }},
	} {
		at := slices.IndexFunc(builtinSinks(), func(d sinks.Definition) bool { return d.Type == s.kind })
		definition := builtinSinks()[at]
		name := fmt.Sprint(s.kind, i)
		k, err := definition.Open(t.Context(), sinks.Config{
			Settings: []byte("{" + s.target(i) + s.settings + "}"), Pipeline: "beside", Source: "test", Name: name, Stdout: &printed,
			Streams: []sinks.Stream{{Name: stream.Name, Selection: part.Selection, Schema: stream.Schema}}, Sluice: "0.0.0-test", Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		_, remembers := k.(sinks.Memory)
		if err := l.RegisterSink(t.Context(), ledger.SinkInfo{Identity: k.Identity(), Name: name, Type: s.kind, Memory: remembers}, nil); err != nil {
			t.Fatal(err)
		}
		cfg.Sinks = append(cfg.Sinks, pipeline.Sink{Name: name, Type: s.kind, Sink: k, OneRun: definition.OneRun})
	}
	summary, err := pipeline.New(cfg).Run(t.Context(), nil, time.Second)
	if err != nil || !summary.Complete() || summary.Failed() {
		t.Fatalf("%v: %+v", err, summary)
	}
	if lines := uint64(bytes.Count(printed.Bytes(), []byte{'\n'})); lines != summary.Rows {
		t.Errorf("%d lines were printed, %d records read", lines, summary.Rows)
	}
}

// wireSource serves random records of a stream, an hour a slice, sent and received as between processes.
type wireSource struct {
	stream plugins.Stream
	alloc  memory.Allocator
	done   chan struct{}
}

func (*wireSource) Measure(context.Context, flow.Partition, flow.Range) ([]flow.Measure, error) {
	return nil, nil
}

func (s *wireSource) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	return []flow.Slice{flow.NewSlice(g.Partition, g.From, g.From.Add(time.Hour), 0)}, nil
}

func (s *wireSource) Now(context.Context) (time.Time, error) { return time.Now(), nil }
func (s *wireSource) Close() error                           { return nil }
func (s *wireSource) Done() <-chan struct{}                  { return s.done }

func (s *wireSource) Read(_ context.Context, of flow.Slice, _ int64, _ func(time.Time, string)) (pipeline.Reader, error) {
	random := rand.New(rand.NewPCG(uint64(of.From.UnixMilli()), 1))
	var constant []int // every second of those that may be: the digest's may not
	for i, f := range s.stream.Schema.Fields() {
		if i%2 == 0 && f.Name != flow.ColBody && f.Name != flow.ColBodyRaw && !slices.Contains(s.stream.DigestColumns, f.Name) {
			constant = append(constant, i)
		}
	}
	out, err := wire.NewLayout(s.stream.Schema, constant)
	if err != nil {
		return nil, err
	}
	defer out.Release()
	in, err := wire.NewLayout(s.stream.Schema, constant)
	if err != nil {
		return nil, err
	}
	r := &wireReader{slice: of, schema: s.stream.Schema, layout: in, items: make(chan flow.Item, 2)}
	if len(constant) > 0 {
		one := s.columns(random, 1, 0.3, constant)
		defer one.Release()
		msg, err := out.EncodeConstants(one)
		if err != nil {
			return nil, err
		}
		if err := in.SetConstants(msg); err != nil {
			return nil, err
		}
	}
	var messages [][]byte
	codec := wire.Codec()
	for seq := range uint64(6) {
		nulls := []float64{0.3, 0, 1}[seq%3]
		rec := s.columns(random, 40+random.IntN(40), nulls, without(s.stream.Schema, constant))
		frame, err := out.Encode(rec)
		rec.Release()
		if err != nil {
			return nil, err
		}
		pieces, err := codec.Marshal(&wire.OutBatch{Seq: seq, Frame: frame})
		frame.Release()
		if err != nil {
			return nil, err
		}
		messages = append(messages, pieces.Materialize())
		pieces.Free()
	}
	r.receiving.Go(func() { r.receive(messages, s.stream) })
	return r, nil
}

func without(schema *arrow.Schema, columns []int) []int {
	var out []int
	for i := range schema.NumFields() {
		if !slices.Contains(columns, i) {
			out = append(out, i)
		}
	}
	return out
}

// columns returns random rows of some columns.
func (s *wireSource) columns(random *rand.Rand, rows int, nulls float64, columns []int) arrow.Record {
	var fields []arrow.Field
	for _, i := range columns {
		fields = append(fields, s.stream.Schema.Field(i))
	}
	return filetest.Record(s.alloc, random, arrow.NewSchema(fields, nil), rows, nulls)
}

// wireReader receives ahead of Next, as the supervisor does.
type wireReader struct {
	slice     flow.Slice
	schema    *arrow.Schema
	layout    *wire.Layout
	items     chan flow.Item
	receiving sync.WaitGroup
	sum       flow.Sum // the receiver's until items is closed
	err       error
}

func (r *wireReader) receive(messages [][]byte, stream plugins.Stream) {
	defer close(r.items)
	codec := wire.Codec()
	for _, m := range messages {
		var in wire.InMessage
		if r.err = codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(m)}, &in); r.err != nil {
			return
		}
		rec, err := r.layout.Decode(in.Batch, wire.Limits{})
		in.Release()
		if r.err = err; err != nil {
			return
		}
		sum, err := flow.SumRecord(rec)
		if len(stream.DigestColumns) > 0 {
			sum, err = flow.SumColumns(rec, stream.DigestColumns)
		}
		if r.err = err; err != nil {
			rec.Release()
			return
		}
		r.sum = r.sum.Plus(sum)
		r.items <- flow.Item{Batch: &flow.Batch{Slice: r.slice.ID, Records: rec, Bytes: int64(len(m)), Sum: sum}}
	}
}

func (r *wireReader) Next(ctx context.Context) (flow.Item, error) {
	select {
	case item, more := <-r.items:
		switch {
		case more:
			return item, nil
		case r.err != nil:
			return flow.Item{}, r.err
		}
		return flow.Item{}, io.EOF
	case <-ctx.Done():
		return flow.Item{}, ctx.Err()
	}
}

func (r *wireReader) Release(it flow.Item)        { it.Batch.Records.Release() }
func (r *wireReader) Manifest() flow.Manifest     { return flow.Manifest{Slice: r.slice, Sum: r.sum} }
func (r *wireReader) Schema() *arrow.Schema       { return r.schema }
func (r *wireReader) VendorTime() time.Time       { return time.Time{} }
func (r *wireReader) Counters() map[string]uint64 { return nil }

func (r *wireReader) Close() error {
	for item := range r.items {
		r.Release(item)
	}
	r.receiving.Wait()
	r.layout.Release()
	return nil
}
