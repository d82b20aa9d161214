package logentries

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins/rapid7"
)

func TestUsage(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(r.URL.Path, "/management/") {
			_, _ = io.WriteString(w, `{"logs":[{"id":"aee00b66-a543-43dc-b093-53963c2e8f41","name":"web"}]}`)
			return
		}
		asked = append(asked, r.RequestURI)
		w.Header().Set("Date", firstDay.AddDate(0, 0, 3).Format(http.TimeFormat))
		_, _ = io.WriteString(w, `{"per_day_usage":{"usage":[{"interval":"2026-11-01","log_usage":[{"usage":"8267539","id":"aee00b66-a543-43dc-b093-53963c2e8f41"}]}],
			"period":{"to":"2026-11-01","from":"2026-11-01"},"usage_units":"bytes","report_interval":"day"}}`)
	}))
	defer server.Close()
	budget := &fakeBudget{}
	s := newSource(t, budget, simSettings(server.URL))
	s.usage.Mem = s.mem
	slice := sliceOf(rapid7.StreamUsage, "", firstDay, firstDay.AddDate(0, 0, 1))
	out, err := read(t, s, slice)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(out.batches, "")
	for _, want := range []string{`"bytes":8267539`, `"day":"2026-11-01"`, `"log_name":"web"`, `"source":"logentries"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if len(asked) != 1 || !strings.HasPrefix(asked[0], "/usage/organizations/logs?") || budget.requests["usage"] != 1 || budget.open != 0 {
		t.Errorf("asked %v, budget %v, %d open", asked, budget.requests, budget.open)
	}
	if s.Settle(rapid7.StreamUsage) != 24*time.Hour || s.Settle(streamEvents) != 0 {
		t.Errorf("usage settles for %v", s.Settle(rapid7.StreamUsage))
	}
}
