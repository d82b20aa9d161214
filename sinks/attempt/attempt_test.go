package attempt

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func config() sinks.Config { return sinks.Config{Streams: []sinks.Stream{sinktest.Stream()}} }

func TestCheck(t *testing.T) {
	if err := Check(config()); err != nil {
		t.Error(err)
	}
	c := config()
	c.Streams = append(c.Streams, sinks.Stream{Name: "odd", Schema: arrow.NewSchema([]arrow.Field{{Name: "half", Type: arrow.FixedWidthTypes.Float16}}, nil)})
	if err := Check(c); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), `stream odd: give records an ID: column "half"`) {
		t.Error(err)
	}
}

// TestAttempt carries three batches, of which a receiver refuses records of one and fails at another.
func TestAttempt(t *testing.T) {
	var closed atomic.Bool
	s := sinktest.Hours("one", 0, 1)
	b := sinktest.Batch(memory.DefaultAllocator, s, 0, []string{"a", "b", "c"})
	defer b.Records.Release()
	ctx := t.Context()
	fresh := func() *Attempt {
		a, err := New(config(), s, &closed)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := fresh()
	rejected, err := a.Append(ctx, b, func(ids []string) ([]sinks.Rejected, error) {
		if len(ids) != 3 || ids[0] == ids[1] {
			t.Errorf("IDs %q", ids)
		}
		return []sinks.Rejected{{Row: 2}, {Row: 0}}, nil
	})
	if err != nil || len(rejected) != 2 || rejected[0].Row != 0 || rejected[1].Row != 2 {
		t.Errorf("%v, %v, want rows 0 and 2 in their order", rejected, err)
	}
	account := sinks.Account{Read: flow.Sum{Rows: 3}, Delivered: flow.Sum{Rows: 1}, Dead: flow.Sum{Rows: 2}}
	confirmed := 0
	if r, err := a.Commit(ctx, account, func() error { confirmed++; return nil }); err != nil || confirmed != 1 || r.Delivered.Rows != 1 || r.Slice.ID != s.ID {
		t.Errorf("%+v, %v, confirmed %d times", r, err, confirmed)
	}
	if _, err := a.Commit(ctx, account, nil); !errors.Is(err, sinks.ErrDead) {
		t.Errorf("a second commit: %v", err)
	}

	a = fresh()
	down := errors.New("down")
	if _, err := a.Append(ctx, b, func([]string) ([]sinks.Rejected, error) { return nil, down }); !errors.Is(err, down) || !strings.Contains(err.Error(), s.String()) {
		t.Error(err)
	}
	if _, err := a.Append(ctx, b, func([]string) ([]sinks.Rejected, error) { t.Error("sent after an error"); return nil, nil }); !errors.Is(err, down) {
		t.Error(err)
	}
	if _, err := a.Commit(ctx, sinks.Account{}, func() error { t.Error("confirmed after an error"); return nil }); !errors.Is(err, down) {
		t.Error(err)
	}

	a = fresh()
	if _, err := a.Append(ctx, b, func([]string) ([]sinks.Rejected, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Commit(ctx, account, nil); fault.KindOf(err) != fault.Bug {
		t.Errorf("an account of other rows: %v", err)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := fresh().Append(ended, b, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	a = fresh()
	a.End()
	if _, err := a.Append(ctx, b, nil); !errors.Is(err, sinks.ErrDead) {
		t.Error(err)
	}
	a = fresh()
	closed.Store(true)
	if _, err := a.Append(ctx, b, nil); !errors.Is(err, sinks.ErrDead) {
		t.Error(err)
	}
	if _, err := New(config(), s, &closed); fault.KindOf(err) != fault.Bug {
		t.Error(err)
	}
	closed.Store(false)
	s.Stream = "other"
	if _, err := New(config(), s, &closed); err == nil {
		t.Error("a stream that the sink wasn't opened for")
	}
}
