package logentries

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/plugintest"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestConformance(t *testing.T) {
	_, base := newSim(t, func(o *vendorsim.Options) { o.Query.Immediate = true })
	settings, err := json.Marshal(simSettings(base))
	if err != nil {
		t.Fatal(err)
	}
	var gaps []flow.Gap
	for _, id := range []string{vendorsim.SeedWebID, vendorsim.SeedAwkwardID, vendorsim.SeedEmptyID} {
		gaps = append(gaps, flow.Gap{
			Partition: flow.Partition{Stream: streamEvents, Key: id}, From: firstDay, To: firstDay.AddDate(0, 0, 2),
		})
	}
	for _, s := range snapshots {
		gaps = append(gaps, flow.Gap{Partition: flow.Partition{Stream: s.stream}, From: firstDay, To: firstDay.Add(time.Millisecond)})
	}
	gaps = append(gaps, flow.Gap{Partition: flow.Partition{Stream: rapid7.StreamUsage}, From: firstDay, To: firstDay.AddDate(0, 0, 2)})
	d := Definition()
	plugintest.Run(t, plugintest.Options{
		Definition: &d, Settings: settings, Secrets: []string{vendorsim.DemoKey, ownerKey}, Gaps: gaps,
	})
}
