package postgres

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func newCopier(t *testing.T) *copier {
	t.Helper()
	columns, err := columnsOf(sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	return &copier{columns: columns, limit: maxRow}
}

// The driver goes on reading when the connection is lost and CopyFrom has returned. The batch is the sink's no more by then: its memory
// is used again, and a goroutine of the driver's that falls over it ends the process.
func TestReadAfterAppend(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	c := newCopier(t)
	s := sinktest.Hours("one", 0, 1)
	for range 20 {
		b := sinktest.Batch(mem, s, 0, sinktest.Bodies(s, 2000))
		if err := c.reset(b.Records); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4<<10)
		if n, err := c.Read(buf); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		var driver sync.WaitGroup
		driver.Go(func() {
			own := make([]byte, 4<<10)
			for {
				if _, err := c.Read(own); err != nil {
					return
				}
			}
		})
		c.release()
		b.Records.Release()
		if n, err := c.Read(buf); n > 0 || err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("after the batch was given back: %d bytes, %v", n, err)
		}
		driver.Wait()
	}
}

// A panic while a batch is encoded is an error of its slice, in whatever goroutine.
func TestReadPanics(t *testing.T) {
	c := newCopier(t)
	s := sinktest.Hours("one", 0, 1)
	b := sinktest.Batch(memory.DefaultAllocator, s, 0, sinktest.Bodies(s, 3))
	defer b.Records.Release()
	if err := c.reset(b.Records); err != nil {
		t.Fatal(err)
	}
	defer c.release()
	c.bound[0] = boundColumn{null: func(int) bool { return false }, value: func([]byte, int) ([]byte, error) { panic("broken") }}
	for range 2 {
		if n, err := io.Copy(io.Discard, c); fault.KindOf(err) != fault.Bug || !strings.Contains(err.Error(), "broken") {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

// testPanic has a batch that no validator would let through: it fails as what it is, not as what the server says of the copying that ended.
func (r rig) testPanic(t *testing.T) {
	k := r.open(t, r.config(r.Database(t), nil))
	s := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	b := sinktest.Batch(memory.DefaultAllocator, s, 0, sinktest.Bodies(s, 3))
	defer b.Records.Release()
	columns := slices.Clone(b.Records.Columns())
	for i, c := range columns {
		if c.DataType().ID() == arrow.STRING {
			offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{0, 1 << 20, 2, 5}))
			columns[i] = array.MakeFromData(array.NewData(c.DataType(), 3, []*memory.Buffer{nil, offsets, memory.NewBufferBytes([]byte("short"))}, nil, 0, 0))
		}
	}
	b.Records = array.NewRecord(sinktest.Schema, columns, 3)
	if _, err := tx.Append(t.Context(), b); fault.KindOf(err) != fault.Bug || !strings.Contains(err.Error(), "panic") {
		t.Errorf("%s: %v", fault.KindOf(err), err)
	}
	if err := tx.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
		t.Errorf("the next try: %v", err)
	}
}
