package logentries

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/proto/fault"
)

// TestBudgetSettingsAreOfQueries keeps a window that is meant for queries from letting more of all else pass than is documented.
func TestBudgetSettingsAreOfQueries(t *testing.T) {
	s := newSource(t, nil, simSettings("http://127.0.0.1:9", "budget", map[string]any{"requests": 7, "window": "1m"}))
	c := s.client
	if want := (plugins.Limit{Namespace: "query", Requests: 7, Window: time.Minute}); c.query != want {
		t.Errorf("queries: %+v, want %+v", c.query, want)
	}
	for _, tt := range []struct{ got, want plugins.Limit }{
		{c.poll, rapid7.PollLimit}, {c.management, rapid7.ManagementLimit}, {c.usage, rapid7.UsageLimit},
	} {
		if tt.got != tt.want {
			t.Errorf("%+v, want %+v", tt.got, tt.want)
		}
	}
}

// TestNotFoundSaysWhatItCanMean tells a log from a list of logs, of which nothing can be deleted.
func TestNotFoundSaysWhatItCanMean(t *testing.T) {
	_, base := newSim(t, nil)
	const logGone = "the log doesn't exist"
	s := newSource(t, nil, simSettings(base, "api_key", "00000000-0000-4000-8000-000000000000"))
	_, err := s.Check(t.Context())
	if hint := fault.HintOf(err); fault.KindOf(err) != fault.NotFound || strings.Contains(hint, logGone) || !strings.Contains(hint, "api_key is wrong") || !strings.Contains(hint, base) {
		t.Errorf("a wrong key: %v; %s", err, hint)
	}
	s = newSource(t, nil, simSettings(base))
	_, err = s.client.start(t.Context(), "00000000-0000-4000-8000-000000000000", position{}, 1, 1, nil)
	if hint := fault.HintOf(err); fault.KindOf(err) != fault.NotFound || !strings.Contains(hint, logGone) || !strings.Contains(hint, "isn't at base_url "+base) {
		t.Errorf("an unknown log: %v; %s", err, hint)
	}
}
