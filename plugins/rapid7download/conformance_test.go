package rapid7download

import (
	"encoding/json"
	"testing"

	"github.com/sluice-io/sluice/plugins/plugintest"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestConformance(t *testing.T) {
	_, base := newSim(t, nil)
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
	d := Definition()
	plugintest.Run(t, plugintest.Options{Definition: &d, Settings: settings, Secrets: []string{vendorsim.DemoKey}, Gaps: gaps})
}
