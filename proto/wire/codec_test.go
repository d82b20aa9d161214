package wire

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// A reader that knows only protobuf reads what we write.
func TestPlainProtobufReadsOutBatch(t *testing.T) {
	l := mustLayout(t, logSchema())
	for seed := range uint64(10) {
		rec := randomRecord(rand.New(rand.NewPCG(seed, 4)), memory.DefaultAllocator, logSchema(), 1+int(seed)*40)
		f, err := l.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		out := &OutBatch{Seq: seed, Frame: f}
		data, err := Codec().Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		want := &v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: &v1.Batch{
			Seq: seed, Rows: uint64(rec.NumRows()), NullColumns: slices.Clone(f.NullColumns()), Frame: f.Bytes(),
		}}}
		got := new(v1.ReadResponse)
		if err := proto.Unmarshal(data.Materialize(), got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, diff)
		}
		if proto.Size(want) != out.Size() {
			t.Errorf("Size = %d, plain protobuf %d", out.Size(), proto.Size(want))
		}
		data.Free()
		f.Release()
		rec.Release()
	}
}

// What any protobuf library writes is read, whatever the order of its fields.
func TestInMessageReadsPlainProtobuf(t *testing.T) {
	rec := randomRecord(rand.New(rand.NewPCG(1, 4)), memory.DefaultAllocator, logSchema(), 50)
	defer rec.Release()
	l := mustLayout(t, logSchema())
	f, err := l.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	batch := &v1.Batch{Seq: 3, Rows: 50, NullColumns: f.NullColumns(), Frame: f.Bytes()}
	plain, err := proto.Marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: batch}})
	if err != nil {
		t.Fatal(err)
	}
	var inner []byte // the frame first, null columns one by one, an unknown field between
	inner = protowire.AppendTag(inner, 15, protowire.BytesType)
	inner = protowire.AppendBytes(inner, batch.GetFrame())
	inner = protowire.AppendTag(inner, 99, protowire.VarintType)
	inner = protowire.AppendVarint(inner, 1)
	for _, c := range batch.GetNullColumns() {
		inner = protowire.AppendTag(inner, 3, protowire.VarintType)
		inner = protowire.AppendVarint(inner, uint64(c))
	}
	inner = protowire.AppendTag(inner, 2, protowire.VarintType)
	inner = protowire.AppendVarint(inner, 50)
	inner = protowire.AppendTag(inner, 1, protowire.VarintType)
	inner = protowire.AppendVarint(inner, 3)
	reordered := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), inner)

	for name, msg := range map[string][]byte{"plain": plain, "reordered": reordered} {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []int{len(msg), 1, 7, 1000} { // wherever the transport cut it
				var in InMessage
				if err := Codec().Unmarshal(pieces(msg, cut), &in); err != nil {
					t.Fatal(err)
				}
				if in.Size != len(msg) || in.Batch == nil || in.Batch.Seq != 3 || in.Batch.Rows != 50 {
					t.Fatalf("got %+v", in)
				}
				got, err := l.Decode(in.Batch, Limits{})
				if err != nil {
					t.Fatal(err)
				}
				in.Release()
				if !array.RecordEqual(rec, got) {
					t.Error("records differ")
				}
				got.Release()
			}
		})
	}
}

func pieces(msg []byte, n int) mem.BufferSlice {
	var out mem.BufferSlice
	for p := range slices.Chunk(msg, n) {
		out = append(out, mem.SliceBuffer(p))
	}
	return out
}

func TestOtherMessages(t *testing.T) {
	marshal := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	dead := marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Dead{Dead: &v1.DeadLetterPiece{
		Record: 2, Offset: 5, Last: true, Reason: "too large", Data: []byte("bytes"),
	}}})
	var in InMessage
	if err := Codec().Unmarshal(pieces(dead, 4), &in); err != nil {
		t.Fatal(err)
	}
	want := InDead{Record: 2, Offset: 5, Last: true, Reason: "too large", Data: []byte("bytes")}
	if in.Dead == nil || !cmp.Equal(*in.Dead, want) || in.Size != len(dead) {
		t.Errorf("dead letter: got %+v", in.Dead)
	}
	waiting := &v1.ReadResponse{Message: &v1.ReadResponse_Waiting{Waiting: &v1.Waiting{Why: "vendor"}}}
	if err := Codec().Unmarshal(pieces(marshal(waiting), 4), &in); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(in.Response, waiting) || in.Dead != nil {
		t.Errorf("waiting: got %+v", in)
	}
	if err := Codec().Unmarshal(nil, &in); err != nil || in.Response.GetMessage() != nil {
		t.Errorf("an empty message: %+v, %v", in, err)
	}
	in.Release()
	in.Release() // idempotent

	batch := marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: &v1.Batch{Frame: []byte("x")}}})
	long := &v1.ReadResponse{Message: &v1.ReadResponse_Waiting{Waiting: &v1.Waiting{Why: string(make([]byte, MaxFree))}}}
	for name, msg := range map[string][]byte{
		"two meanings":         append(slices.Clone(batch), dead...),
		"waiting and a batch":  append(marshal(waiting), batch...),
		"two batches":          append(slices.Clone(batch), batch...),
		"no frame":             marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: &v1.Batch{Seq: 1}}}),
		"null column beyond":   marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: &v1.Batch{NullColumns: []uint32{1 << 30}, Frame: []byte("x")}}}),
		"long and free":        marshal(long),
		"long piece":           marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Dead{Dead: &v1.DeadLetterPiece{Data: make([]byte, MaxDeadPiece+1)}}}),
		"not protobuf":         {0xff, 0xff, 0xff},
		"cut":                  batch[:len(batch)-1],
		"length beyond int":    {0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"a group that is open": {0x0b},
	} {
		if err := Codec().Unmarshal(pieces(msg, 1<<20), &in); err == nil {
			t.Errorf("%s: accepted as %+v", name, in)
		}
	}
}

func FuzzInMessage(f *testing.F) {
	l := mustLayout(f, logSchema())
	rec := randomRecord(rand.New(rand.NewPCG(1, 1)), memory.DefaultAllocator, logSchema(), 4)
	frame, err := l.Encode(rec)
	if err != nil {
		f.Fatal(err)
	}
	data, err := Codec().Marshal(&OutBatch{Seq: 1, Frame: frame})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data.Materialize())
	f.Add([]byte{0x22, 2, 0x7a, 0})
	f.Fuzz(func(t *testing.T, msg []byte) {
		layout, err := NewLayout(logSchema(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer layout.Release()
		var in InMessage
		defer in.Release()
		if Codec().Unmarshal(pieces(msg, 16384), &in) != nil {
			return
		}
		set := 0
		for _, is := range []bool{in.Batch != nil, in.Dead != nil, in.Response != nil} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Fatalf("%d meanings", set)
		}
		if in.Batch != nil {
			if got, err := layout.Decode(in.Batch, Limits{}); err == nil {
				mustEncode(t, got)
				got.Release()
			}
		}
	})
}
