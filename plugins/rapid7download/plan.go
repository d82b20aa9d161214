package rapid7download

import (
	"context"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	day       = 24 * time.Hour
	planAhead = 10_000 // slices of one plan; the host asks again for the rest
	hintsUsed = 8      // the most recent hints say what the next slices will weigh
)

// Plan implements plugins.Source: slices of the configured length, or as long as hints let the target last, none across a
// UTC day. Without hints a slice is what is left of its day.
func (s *source) Plan(ctx context.Context, g flow.Gap) ([]flow.Slice, error) {
	if err := known(g.Stream); err != nil {
		return nil, err
	}
	length := s.sliceLength(g.Hints)
	var out []flow.Slice
	for from := g.From; from.Before(g.To) && len(out) < planAhead; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		midnight := flow.Day(from)
		// Ends are multiples of the length within the day, so that a second run cuts alike.
		to := midnight.Add((from.Sub(midnight)/length + 1) * length)
		to = earliest(to, midnight.Add(day), g.To)
		out = append(out, flow.NewSlice(g.Partition, from, to, 0))
		from = to
	}
	return out, nil
}

// sliceLength returns how long a slice should be: whole milliseconds, at most a day.
func (s *source) sliceLength(hints []flow.Hint) time.Duration {
	if s.target.Duration > 0 {
		return max(time.Millisecond, min(day, s.target.Duration.Truncate(time.Millisecond)))
	}
	if len(hints) > hintsUsed {
		hints = hints[len(hints)-hintsUsed:]
	}
	var rows, bytes float64 // per millisecond, of the densest hint: a slice too short costs less than one too long
	for _, h := range hints {
		span := float64(h.To.Sub(h.From).Milliseconds())
		if span <= 0 {
			continue
		}
		factor := 1.0
		if h.Truncated {
			factor = 2 // what was seen is the least that there is
		}
		rows = max(rows, factor*float64(h.Rows)/span)
		bytes = max(bytes, factor*float64(h.Bytes)/span)
	}
	length := float64(day.Milliseconds())
	if bytes > 0 {
		length = min(length, float64(s.target.Bytes)/bytes)
	}
	if rows > 0 {
		length = min(length, float64(s.rowTarget())/rows)
	}
	return max(time.Millisecond, time.Duration(length)*time.Millisecond)
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// truncated says that the slice must be cut. Lines carry no times, so there is no evidence where: the host cuts.
func truncated(s flow.Slice, rows, bytes uint64) error {
	return plugins.Truncated(s, rows, bytes)
}
