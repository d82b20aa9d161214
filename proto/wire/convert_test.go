package wire

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

func testSlice() flow.Slice {
	from := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	p := flow.Partition{Selection: flow.SelectionID{1, 2, 3}, Stream: "events", Key: "log-1"}
	return flow.NewSlice(p, from, from.Add(time.Hour), 2)
}

func TestSlicesAndGapsRoundTrip(t *testing.T) {
	want := testSlice()
	got, err := SliceFromProto(SliceToProto(want))
	if err != nil || got != want {
		t.Errorf("slice: got %+v, %v", got, err)
	}
	gap := flow.Gap{Partition: want.Partition, From: want.From, To: want.To.Add(72 * time.Hour), Hints: []flow.Hint{
		{From: want.From, To: want.To, Rows: 7, Bytes: 900, Truncated: true}, {From: want.To, To: want.To.Add(time.Hour), Rows: 1},
	}}
	back, err := GapFromProto(GapToProto(gap))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gap, back); diff != "" {
		t.Errorf("gap (-want +got):\n%s", diff)
	}
	sum := flow.SumOf([]byte("record"))
	if got, err := SumFromProto(SumToProto(sum)); err != nil || got != sum {
		t.Errorf("sum: got %+v, %v", got, err)
	}
	now := time.Date(2026, 11, 1, 1, 2, 3, 4, time.UTC)
	if got, err := TimeFromProto(TimeToProto(now)); err != nil || !got.Equal(now) {
		t.Errorf("time: got %v, %v", got, err)
	}
	if got, err := TimeFromProto(TimeToProto(time.Time{})); err != nil || !got.IsZero() {
		t.Errorf("zero time: got %v, %v", got, err)
	}
}

func TestSliceFromProtoRefuses(t *testing.T) {
	change := func(f func(*v1.Slice)) *v1.Slice {
		m := proto.Clone(SliceToProto(testSlice())).(*v1.Slice)
		f(m)
		return m
	}
	for name, m := range map[string]*v1.Slice{
		"none":             nil,
		"short ID":         change(func(m *v1.Slice) { m.Id = m.Id[:15] }),
		"other ID":         change(func(m *v1.Slice) { m.Id = make([]byte, 16) }),
		"long selection":   change(func(m *v1.Slice) { m.Selection = make([]byte, 17) }),
		"other revision":   change(func(m *v1.Slice) { m.Revision++ }),
		"empty range":      change(func(m *v1.Slice) { m.ToMs = m.FromMs }),
		"beyond year 9999": change(func(m *v1.Slice) { m.ToMs = 1 << 62 }),
		"before year 1":    change(func(m *v1.Slice) { m.FromMs = -1 << 62 }),
		"two days":         change(func(m *v1.Slice) { m.ToMs += 86400_000 }),
	} {
		if s, err := SliceFromProto(m); err == nil {
			t.Errorf("%s: accepted as %v", name, s)
		}
	}
	if _, err := SlicesFromProto([]*v1.Slice{SliceToProto(testSlice()), nil}); err == nil {
		t.Error("a list with a missing slice was accepted")
	}
	if _, err := GapFromProto(&v1.PlanRequest{Selection: make([]byte, 16), Stream: "x"}); err == nil {
		t.Error("an empty gap was accepted")
	}
	if _, err := SumFromProto(&v1.Sum{Digest: []byte("short")}); err == nil {
		t.Error("a short digest was accepted")
	}
	if _, err := TimeFromProto(&timestamppb.Timestamp{Seconds: 1 << 60}); err == nil {
		t.Error("a time beyond year 9999 was accepted")
	}
}
