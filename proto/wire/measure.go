package wire

import (
	"fmt"
	"math"

	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// MeasureRequestToProto returns the Measure request of a partition and range.
func MeasureRequestToProto(p flow.Partition, r flow.Range) *v1.MeasureRequest {
	return &v1.MeasureRequest{
		Selection: p.Selection[:], Stream: p.Stream, Partition: p.Key, FromMs: r.From.UnixMilli(), ToMs: r.To.UnixMilli(),
	}
}

// MeasureRequestFromProto returns the partition and range of a Measure request. It refuses an empty range and a missing stream.
func MeasureRequestFromProto(m *v1.MeasureRequest) (flow.Partition, flow.Range, error) {
	g, err := GapFromProto(&v1.PlanRequest{
		Selection: m.GetSelection(), Stream: m.GetStream(), Partition: m.GetPartition(), FromMs: m.GetFromMs(), ToMs: m.GetToMs(),
	})
	return g.Partition, g.Range(), err
}

// MeasuresToProto returns the messages of measures. A figure of -1 isn't told.
func MeasuresToProto(measures []flow.Measure) []*v1.Measure {
	out := make([]*v1.Measure, len(measures))
	for i, m := range measures {
		out[i] = &v1.Measure{FromMs: m.From.UnixMilli(), ToMs: m.To.UnixMilli(), Rows: told(m.Rows), Bytes: told(m.Bytes)}
	}
	return out
}

func told(n int64) *uint64 {
	if n < 0 {
		return nil
	}
	u := uint64(n)
	return &u
}

// MeasuresFromProto returns the measures of messages, which flow.CheckMeasures must still be asked about.
func MeasuresFromProto(ms []*v1.Measure) ([]flow.Measure, error) {
	out := make([]flow.Measure, len(ms))
	for i, m := range ms {
		if err := checkMillis(m.GetFromMs(), m.GetToMs()); err != nil {
			return nil, fmt.Errorf("measure %d: %w", i, err)
		}
		if m.GetRows() > math.MaxInt64 || m.GetBytes() > math.MaxInt64 {
			return nil, fmt.Errorf("measure %d: %d rows, %d bytes are beyond what can be counted", i, m.GetRows(), m.GetBytes())
		}
		out[i] = flow.Measure{Range: flow.Range{From: fromMillis(m.GetFromMs()), To: fromMillis(m.GetToMs())}, Rows: -1, Bytes: -1}
		if m.Rows != nil {
			out[i].Rows = int64(m.GetRows())
		}
		if m.Bytes != nil {
			out[i].Bytes = int64(m.GetBytes())
		}
	}
	return out, nil
}
