package elsa

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
)

// Nothing is sent that lies outside of the documented ranges, whatever the settings let through.
func TestBodyIsCheckedBeforeItIsSent(t *testing.T) {
	good := downloadBody{ProjectKey: strings.Repeat("p", 53), ProjectID: 1, From: 5, To: 5, Format: formatCSV, IncludeFields: []string{"body"}, Limit: 1000, Count: 200_000}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*downloadBody){
		"projectKey":       func(b *downloadBody) { b.ProjectKey += "p" },
		"projectId: 0":     func(b *downloadBody) { b.ProjectID = 0 },
		"from 5, to 4":     func(b *downloadBody) { b.To = 4 },
		"from -1":          func(b *downloadBody) { b.From = -1 },
		`format: "json"`:   func(b *downloadBody) { b.Format = "json" },
		"limit: 0":         func(b *downloadBody) { b.Limit = 0 },
		"limit: 1001":      func(b *downloadBody) { b.Limit = 1001 },
		"count: 0":         func(b *downloadBody) { b.Count = 0 },
		"count: 200001":    func(b *downloadBody) { b.Count = 200_001 },
		"includeFields[1]": func(b *downloadBody) { b.IncludeFields = []string{"body", "“logType”"} },
	} {
		bad := good
		change(&bad)
		if err := bad.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	sim, base := newSim(t, nil)
	s := at(newSource(t, simSettings(base)), sim)
	s.client.settings.Count = 0
	if _, err := read(t, s, sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1))); fault.KindOf(err) != fault.Config {
		t.Errorf("a count of 0: %v", err)
	}
	if n := len(sim.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestEachAttemptIsSignedAnew moves this machine's clock between two attempts, by less than the vendor allows: the second's signature is of
// its own moment all the same.
func TestEachAttemptIsSignedAnew(t *testing.T) {
	sim, base := newSim(t, nil)
	var stamps, signatures []string
	err := sim.SetFaults(vendorsim.Script{Rules: []vendorsim.Rule{{
		Path: pathDownload, Times: 1, Fault: vendorsim.Fault{Status: 503}, When: func(r *http.Request) bool {
			stamps, signatures = append(stamps, r.Header.Get(headerTimestamp)), append(signatures, r.Header.Get(headerSignature))
			return true
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := at(newSource(t, simSettings(base)), sim)
	now := sim.Clock().Now()
	s.client.now = func() time.Time { return now }
	slice := sliceOf(vendorsim.SeedProject, firstDay, firstDay.AddDate(0, 0, 1))
	if _, err := read(t, s, slice); fault.KindOf(err) != fault.Transient {
		t.Fatalf("the first attempt: %v", err)
	}
	now = now.Add(17 * time.Second)
	if _, err := read(t, s, slice); err != nil {
		t.Fatalf("the second attempt: %v", err)
	}
	if len(stamps) != 2 || stamps[1] != fmt.Sprint(now.UnixMilli()) || stamps[0] == stamps[1] || signatures[0] == signatures[1] {
		t.Errorf("timestamps %q, signatures %q; now is %d", stamps, signatures, now.UnixMilli())
	}
}
