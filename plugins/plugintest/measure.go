package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// checkMeasures asks a plugin that names the feature for its vendor's figures of each gap. One that can't tell any says so by
// UNIMPLEMENTED; what one tells must be of the range that was asked for, in time order and without overlap.
func checkMeasures(ctx context.Context, s *subject) error {
	if !slices.Contains(s.description.GetFeatures(), wire.FeatureMeasure) {
		return nil
	}
	for _, g := range s.opts.Gaps {
		m, err := s.source.Measure(ctx, wire.MeasureRequestToProto(g.Partition, g.Range()))
		if status.Code(err) == codes.Unimplemented {
			return nil
		}
		if err != nil {
			return fmt.Errorf("gap %s %s: %w", g.Partition, g.Range(), s.note(err))
		}
		measures, err := wire.MeasuresFromProto(m.GetMeasures())
		if err == nil {
			err = flow.CheckMeasures(g.Range(), measures)
		}
		if err != nil {
			return fmt.Errorf("gap %s %s: %w", g.Partition, g.Range(), err)
		}
	}
	unknown := &v1.MeasureRequest{Selection: make([]byte, 16), Stream: "no-such-stream", FromMs: 0, ToMs: 1}
	_, err := s.source.Measure(ctx, unknown)
	if s.note(err) == nil {
		return errors.New("a range of an unknown stream was measured")
	}
	if err := hasKind(err); err != nil {
		return fmt.Errorf("measure of an unknown stream: %w", err)
	}
	return nil
}
