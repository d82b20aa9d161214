package wire

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// SliceToProto returns the message of a slice.
func SliceToProto(s flow.Slice) *v1.Slice {
	return &v1.Slice{
		Id: s.ID[:], Selection: s.Selection[:], Stream: s.Stream, Partition: s.Key,
		FromMs: s.From.UnixMilli(), ToMs: s.To.UnixMilli(), Revision: s.Rev,
	}
}

// SliceFromProto returns the slice of a message. It refuses whatever flow.Slice.Validate refuses, an ID that doesn't fit
// the rest among them.
func SliceFromProto(m *v1.Slice) (flow.Slice, error) {
	if m == nil {
		return flow.Slice{}, fmt.Errorf("slice: the message has none")
	}
	s := flow.Slice{
		Partition: flow.Partition{Stream: m.GetStream(), Key: m.GetPartition()},
		From:      fromMillis(m.GetFromMs()), To: fromMillis(m.GetToMs()), Rev: m.GetRevision(),
	}
	if err := fill(s.ID[:], "slice ID", m.GetId()); err != nil {
		return flow.Slice{}, err
	}
	if err := fill(s.Selection[:], "selection ID", m.GetSelection()); err != nil {
		return flow.Slice{}, err
	}
	if err := checkMillis(m.GetFromMs(), m.GetToMs()); err != nil {
		return flow.Slice{}, err
	}
	if err := s.Validate(); err != nil {
		return flow.Slice{}, err
	}
	return s, nil
}

// SlicesToProto returns the messages of slices.
func SlicesToProto(slices []flow.Slice) []*v1.Slice {
	out := make([]*v1.Slice, len(slices))
	for i, s := range slices {
		out[i] = SliceToProto(s)
	}
	return out
}

// SlicesFromProto returns the slices of messages, or the first error.
func SlicesFromProto(ms []*v1.Slice) ([]flow.Slice, error) {
	out := make([]flow.Slice, len(ms))
	for i, m := range ms {
		s, err := SliceFromProto(m)
		if err != nil {
			return nil, fmt.Errorf("slice %d of %d: %w", i, len(ms), err)
		}
		out[i] = s
	}
	return out, nil
}

// GapToProto returns the Plan request of a gap.
func GapToProto(g flow.Gap) *v1.PlanRequest {
	m := &v1.PlanRequest{
		Selection: g.Selection[:], Stream: g.Stream, Partition: g.Key,
		FromMs: g.From.UnixMilli(), ToMs: g.To.UnixMilli(),
	}
	for _, h := range g.Hints {
		m.Hints = append(m.Hints, HintToProto(h))
	}
	return m
}

// GapFromProto returns the gap of a Plan request. It refuses an empty range and a missing stream.
func GapFromProto(m *v1.PlanRequest) (flow.Gap, error) {
	g := flow.Gap{
		Partition: flow.Partition{Stream: m.GetStream(), Key: m.GetPartition()},
		From:      fromMillis(m.GetFromMs()), To: fromMillis(m.GetToMs()),
	}
	if err := fill(g.Selection[:], "selection ID", m.GetSelection()); err != nil {
		return flow.Gap{}, err
	}
	if g.Stream == "" {
		return flow.Gap{}, fmt.Errorf("gap: no stream")
	}
	if err := checkMillis(m.GetFromMs(), m.GetToMs()); err != nil {
		return flow.Gap{}, err
	}
	if g.Range().Empty() {
		return flow.Gap{}, fmt.Errorf("gap %s %s: range is empty", g.Partition, g.Range())
	}
	for _, h := range m.GetHints() {
		hint, err := HintFromProto(h)
		if err != nil {
			return flow.Gap{}, err
		}
		g.Hints = append(g.Hints, hint)
	}
	return g, nil
}

// HintToProto returns the message of a hint.
func HintToProto(h flow.Hint) *v1.Hint {
	return &v1.Hint{FromMs: h.From.UnixMilli(), ToMs: h.To.UnixMilli(), Rows: h.Rows, Bytes: h.Bytes, Truncated: h.Truncated}
}

// HintFromProto returns the hint of a message; its range must not be empty.
func HintFromProto(m *v1.Hint) (flow.Hint, error) {
	if err := checkMillis(m.GetFromMs(), m.GetToMs()); err != nil {
		return flow.Hint{}, fmt.Errorf("hint: %w", err)
	}
	if m.GetFromMs() >= m.GetToMs() {
		return flow.Hint{}, fmt.Errorf("hint: range is empty")
	}
	return flow.Hint{
		From: fromMillis(m.GetFromMs()), To: fromMillis(m.GetToMs()),
		Rows: m.GetRows(), Bytes: m.GetBytes(), Truncated: m.GetTruncated(),
	}, nil
}

// SumToProto returns the message of a sum.
func SumToProto(s flow.Sum) *v1.Sum {
	d := s.Digest.Bytes()
	return &v1.Sum{Rows: s.Rows, Bytes: s.Bytes, Digest: d[:]}
}

// SumFromProto returns the sum of a message.
func SumFromProto(m *v1.Sum) (flow.Sum, error) {
	if m == nil {
		return flow.Sum{}, fmt.Errorf("sum: the message has none")
	}
	d, err := flow.DigestFromBytes(m.GetDigest())
	if err != nil {
		return flow.Sum{}, fmt.Errorf("sum: %w", err)
	}
	return flow.Sum{Rows: m.GetRows(), Bytes: m.GetBytes(), Digest: d}, nil
}

// TimeToProto returns the message of a time, nil for the zero time.
func TimeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// TimeFromProto returns the time of a message in UTC, the zero time for nil. It refuses times outside the years 1 to 9999.
func TimeFromProto(m *timestamppb.Timestamp) (time.Time, error) {
	if m == nil {
		return time.Time{}, nil
	}
	if err := m.CheckValid(); err != nil {
		return time.Time{}, fmt.Errorf("time: %w", err)
	}
	return m.AsTime(), nil
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// The years 1 to 9999: beyond them times no longer print as RFC 3339.
const (
	minMillis = -62135596800000
	maxMillis = 253402300800000
)

func checkMillis(from, to int64) error {
	if from < minMillis || to > maxMillis || from > math.MaxInt64/2 {
		return fmt.Errorf("range from %d ms to %d ms lies outside the years 1 to 9999", from, to)
	}
	return nil
}

func fill(dst []byte, what string, src []byte) error {
	if len(src) != len(dst) {
		return fmt.Errorf("%s of %d bytes, want %d", what, len(src), len(dst))
	}
	copy(dst, src)
	return nil
}
