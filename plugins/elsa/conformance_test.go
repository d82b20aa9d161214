package elsa

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/plugintest"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestConformance(t *testing.T) {
	// The source signs by this machine's clock, so the simulator has the same and its records lie in the past.
	start := time.Now().UTC().AddDate(0, 0, -5).Truncate(24 * time.Hour)
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Elsa.Projects = vendorsim.SeededProjects(vendorsim.SeedOptions{Start: start, Days: 2, Lines: 3000})
		o.Elsa.Order = vendorsim.NewestFirst
	})
	settings, err := json.Marshal(simSettings(base))
	if err != nil {
		t.Fatal(err)
	}
	var gaps []flow.Gap
	for _, key := range []string{vendorsim.SeedProject, vendorsim.SeedOddProject, vendorsim.SeedEmptyProject} {
		gaps = append(gaps, flow.Gap{Partition: flow.Partition{Stream: streamEvents, Key: key}, From: start, To: start.AddDate(0, 0, 2)})
	}
	d := Definition()
	plugintest.Run(t, plugintest.Options{Definition: &d, Settings: settings, Secrets: []string{vendorsim.DemoSecretKey, vendorsim.DemoAccessKey}, Gaps: gaps})
}
