package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// TestWithdraw: a marker in a transaction makes a slice a gap again, for whoever opens the sink next, too; its messages stay.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	address := broker(t).Address
	r := newRig(address)
	ctx := begun(t)
	k := opened(t, r.config(nil)).(*Sink)
	s, other := sinktest.Hours("one", 0, 1), sinktest.Hours("one", 1, 2)
	bodies := sinktest.Bodies(s, 5)
	first, err := sinktest.Write(ctx, k, s, bodies)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := sinktest.Write(ctx, k, other, sinktest.Bodies(other, 3))
	if err != nil {
		t.Fatal(err)
	}
	if left, err := k.Left(ctx, first); err != nil || len(left) != 1 || !strings.HasPrefix(left[0], "5 messages in topic ") {
		t.Errorf("left: %q, %v", left, err)
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{first}, true); fault.KindOf(err) != fault.Config {
		t.Errorf("messages were deleted: %v", err)
	}
	got, err := k.Withdraw(ctx, []sinks.Receipt{first}, false)
	if err != nil || got.Entry != 3 || !cmp.Equal(got.Forgets, []uint64{1}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{first}, false); fault.KindOf(err) != fault.Config {
		t.Errorf("withdrawn twice: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = opened(t, r.config(nil)).(*Sink)
	if _, err := k.Lookup(ctx, s); !errors.Is(err, sinks.ErrNotCommitted) {
		t.Errorf("a withdrawn slice: %v", err)
	}
	if found, err := k.Lookup(ctx, other); err != nil || found.Entry != kept.Entry {
		t.Errorf("the other slice: %+v, %v", found, err)
	}
	if again, err := sinktest.Write(ctx, k, s, bodies); err != nil || again.Entry != 4 {
		t.Fatalf("%+v, %v", again, err)
	}
	r.wantBodies(t, bodies, bodies, sinktest.Bodies(other, 3))
	var entries []string
	for rec, err := range k.Committed(ctx, flow.Gap{Partition: s.Partition, From: s.From, To: s.To}, func(time.Time) uint64 { return 1 }) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprint(rec.Entry, rec.Forgets))
	}
	if diff := cmp.Diff([]string{"2 []", "3 [1]", "4 []"}, entries); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
