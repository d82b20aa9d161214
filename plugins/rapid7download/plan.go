package rapid7download

import (
	"context"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/proto/flow"
)

// Plan implements plugins.Source.
func (s *source) Plan(_ context.Context, g flow.Gap) ([]flow.Slice, error) {
	if err := known(g.Stream); err != nil {
		return nil, err
	}
	return plugins.CutGap(g, s.target, plugins.CutOptions{
		RowCap: s.client.settings.most(),
		Limit:  s.client.download,
	}), nil
}

// truncated says that the slice must be cut. Lines carry no times, so there is no evidence where.
func truncated(s flow.Slice, rows, bytes uint64) error {
	return plugins.Truncated(s, rows, bytes, plugins.SplitTruncated(s, nil)...)
}
