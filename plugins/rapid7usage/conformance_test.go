package rapid7usage

import (
	"encoding/json"
	"testing"

	"github.com/sluice-io/sluice/plugins/plugintest"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestConformance(t *testing.T) {
	_, base := newSim(t, nil)
	settings, err := json.Marshal(simSettings(base))
	if err != nil {
		t.Fatal(err)
	}
	d := Definition()
	plugintest.Run(t, plugintest.Options{
		Definition: &d, Settings: settings, Secrets: []string{vendorsim.DemoKey},
		Gaps: []flow.Gap{{Partition: flow.Partition{Stream: rapid7.StreamUsage}, From: firstDay, To: firstDay.AddDate(0, 0, 2)}},
	})
}
