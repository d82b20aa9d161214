package supervisor

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
	"github.com/sluice-io/sluice/proto/wire"
)

// Measure returns what the vendor itself says of the parts of r that it has figures for, by a cheaper answer than the records, in time
// order and without overlap. nil, nil: the source can't, or has none. It waits for the budget as long as ctx lets it.
func (p *Plugin) Measure(ctx context.Context, of flow.Partition, r flow.Range) ([]flow.Measure, error) {
	if r.Empty() || !slices.Contains(p.description.Features, wire.FeatureMeasure) {
		return nil, nil
	}
	m, err := v1.NewSourceServiceClient(p.conn).Measure(ctx, wire.MeasureRequestToProto(of, r))
	if status.Code(err) == codes.Unimplemented {
		return nil, nil
	}
	if err != nil {
		return nil, p.callError(ctx, "measure "+of.String(), err)
	}
	measures, err := wire.MeasuresFromProto(m.GetMeasures())
	if err == nil {
		err = flow.CheckMeasures(r, measures)
	}
	if err != nil {
		// Not held against the process, whose reads may be as good as ever: figures are evidence beside them.
		return nil, fault.New(fault.Bug, "plugin "+p.Name(), "update the plugin; if that doesn't help, tell its author",
			fmt.Errorf("what it measured of %s %s can't be used: %w", of, r, err))
	}
	return measures, nil
}
