package wire

import (
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-io/sluice/proto/arena"
	"github.com/sluice-io/sluice/proto/shm"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// TestSharedFramesOfAnyLength: the length that a message says isn't believed before there is a block of so many bytes.
func TestSharedFramesOfAnyLength(t *testing.T) {
	shared, file, err := shm.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	defer file.Close()
	codec := CodecWith(arena.NewPool(1<<20), shared)
	for _, length := range []uint64{0, uint64(shared.Most()) + 1, 1 << 62, 1 << 63} {
		msg, err := proto.Marshal(&v1.ReadResponse{Message: &v1.ReadResponse_Batch{Batch: &v1.Batch{
			Rows: 1, Shared: &v1.SharedFrame{Ticket: 7, Length: length},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		in := new(InMessage)
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(msg)}, in); err == nil || !strings.Contains(err.Error(), "bytes in shared memory") {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}
