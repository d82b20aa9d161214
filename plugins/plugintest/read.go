package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"google.golang.org/grpc"

	"github.com/sluice-io/sluice/proto/credit"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// reading is one Read, driven message by message. Everything that arrives is checked against the protocol.
type reading struct {
	s      *subject
	slice  flow.Slice
	stream grpc.BidiStreamingClient[v1.ReadRequest, v1.ReadResponse]
	window *credit.Window
	end    context.CancelFunc

	layout    *wire.Layout
	digest    []string
	seq       uint64
	dead      deadState
	sum       flow.Sum
	done      *flow.Sum
	truncated *flow.Truncated
}

type deadState struct {
	record, offset uint64
	hasher         *flow.Hasher // nil between records
}

// kind is what a message was.
type kind string

const (
	kindWaiting   kind = "waiting"
	kindOpened    kind = "opened"
	kindBatch     kind = "batch"
	kindDead      kind = "dead-letter piece"
	kindDone      kind = "done"
	kindTruncated kind = "truncated"
)

// open begins a read with a window of size bytes that isn't open yet.
func (s *subject) open(ctx context.Context, slice flow.Slice, size int64) (*reading, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := s.source.Read(ctx)
	if err == nil {
		err = stream.Send(&v1.ReadRequest{Message: &v1.ReadRequest_Open{Open: &v1.Open{Slice: wire.SliceToProto(slice)}}})
	}
	if err != nil {
		cancel()
		return nil, s.note(err)
	}
	r := &reading{s: s, slice: slice, stream: stream, end: cancel}
	r.window = credit.NewWindow(size, r.grant)
	return r, nil
}

func (r *reading) grant(n int64) error {
	err := r.stream.Send(&v1.ReadRequest{Message: &v1.ReadRequest_Grant{Grant: &v1.Grant{Bytes: uint64(n)}}})
	if errors.Is(err, io.EOF) {
		return nil // the plugin has ended the stream; how is told by what is still to be received
	}
	return err
}

// close ends the stream whatever its state and waits until nothing more comes.
func (r *reading) close() {
	r.end()
	for in := new(wire.InMessage); r.stream.RecvMsg(in) == nil; {
		in.Release()
	}
	if r.layout != nil {
		r.layout.Release()
	}
}

// next takes one message. io.EOF: the stream ended after its last message.
func (r *reading) next() (kind, error) {
	var in wire.InMessage
	if err := r.stream.RecvMsg(&in); err != nil {
		if errors.Is(err, io.EOF) && (r.done != nil || r.truncated != nil) {
			return "", io.EOF
		}
		if errors.Is(err, io.EOF) {
			return "", errors.New("the stream ended without Done or Truncated")
		}
		return "", r.s.note(err)
	}
	defer in.Release()
	if r.done != nil || r.truncated != nil {
		return "", errors.New("a message came after the last one")
	}
	switch {
	case in.Gone:
		return "", errors.New("a batch's frame isn't in the shared memory: it was taken back before it was read, or never put there")
	case in.Batch != nil:
		return kindBatch, r.batch(&in)
	case in.Dead != nil:
		return kindDead, r.deadPiece(&in)
	}
	switch m := in.Response.GetMessage().(type) {
	case *v1.ReadResponse_Waiting:
		return kindWaiting, nil
	case *v1.ReadResponse_Opened:
		return kindOpened, r.opened(m.Opened)
	case *v1.ReadResponse_Done:
		sum, err := wire.SumFromProto(m.Done.GetSum())
		r.done = &sum
		return kindDone, err
	case *v1.ReadResponse_Truncated:
		return kindTruncated, r.cut(m.Truncated)
	}
	return "", fmt.Errorf("message of an unknown kind: %v", in.Response)
}

func (r *reading) opened(m *v1.Opened) error {
	if r.layout != nil {
		return errors.New("opened twice")
	}
	schema, err := wire.DecodeSchema(m.GetSchema())
	if err != nil {
		return err
	}
	declared, digest, err := r.s.declared(r.slice.Stream)
	if err != nil {
		return err
	}
	if !schema.Equal(declared) {
		return fmt.Errorf("the read's schema isn't the declared one:\ngot  %v\nwant %v", schema, declared)
	}
	constants := make([]int, len(m.GetConstantColumns()))
	for i, c := range m.GetConstantColumns() {
		constants[i] = int(c)
	}
	if r.layout, err = wire.NewLayout(schema, constants); err != nil {
		return err
	}
	r.digest = digest
	return r.layout.SetConstants(m.GetConstants())
}

func (r *reading) batch(in *wire.InMessage) error {
	switch {
	case r.layout == nil:
		return errors.New("a batch came before Opened")
	case r.dead.hasher != nil:
		return errors.New("a batch came between the pieces of a dead letter")
	case in.Batch.Seq != r.seq:
		return fmt.Errorf("batch %d came, want %d", in.Batch.Seq, r.seq)
	}
	r.seq++
	if err := r.window.Receive(int64(in.Size)); err != nil {
		return err
	}
	rec, err := r.layout.Decode(in.Batch, wire.Limits{})
	if err != nil {
		return err
	}
	defer rec.Release()
	var sum flow.Sum
	if len(r.digest) > 0 {
		sum, err = flow.SumColumns(rec, r.digest)
	} else {
		sum, err = flow.SumRecord(rec)
	}
	if err != nil {
		return err
	}
	r.sum = r.sum.Plus(sum)
	return r.window.Release(int64(in.Size))
}

func (r *reading) deadPiece(in *wire.InMessage) error {
	if r.layout == nil {
		return errors.New("a dead letter came before Opened")
	}
	if err := r.window.Receive(int64(in.Size)); err != nil {
		return err
	}
	d := in.Dead
	if d.Record != r.dead.record || d.Offset != r.dead.offset {
		return fmt.Errorf("piece at %d of dead letter %d, want %d of %d", d.Offset, d.Record, r.dead.offset, r.dead.record)
	}
	if r.dead.hasher == nil {
		r.dead.hasher = flow.NewHasher()
	}
	_, _ = r.dead.hasher.Write(d.Data) // never fails
	r.dead.offset += uint64(len(d.Data))
	if d.Last {
		if d.Reason == "" {
			return fmt.Errorf("dead letter %d has no reason", d.Record)
		}
		r.sum = r.sum.Plus(r.dead.hasher.Sum())
		r.dead = deadState{record: d.Record + 1}
	}
	return r.window.Release(int64(in.Size))
}

func (r *reading) cut(m *v1.Truncated) error {
	parts, err := wire.SlicesFromProto(m.GetParts())
	if err != nil {
		return err
	}
	r.truncated = &flow.Truncated{Slice: r.slice, Into: parts, Rows: m.GetRows(), Bytes: m.GetBytes()}
	if len(parts) == 0 {
		return nil
	}
	if len(parts) < 2 {
		return errors.New("truncated into one part")
	}
	return coverExactly(r.slice.Partition, r.slice.Range(), parts)
}

// readAll reads a slice to its end.
func (s *subject) readAll(ctx context.Context, slice flow.Slice) (*reading, error) {
	r, err := s.open(ctx, slice, 8<<20)
	if err != nil {
		return nil, err
	}
	defer r.close()
	for {
		k, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return nil, fmt.Errorf("slice %s: %w", slice, err)
		case k == kindOpened:
			if err := r.window.Open(); err != nil {
				return nil, err
			}
		}
	}
}

// declared returns a stream's schema and digest columns as described.
func (s *subject) declared(stream string) (*arrow.Schema, []string, error) {
	for _, d := range s.description.GetStreams() {
		if d.GetName() == stream {
			schema, err := wire.DecodeSchema(d.GetSchema())
			return schema, d.GetDigestColumns(), err
		}
	}
	return nil, nil, fmt.Errorf("stream %q isn't described", stream)
}
