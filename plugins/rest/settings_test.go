package rest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluice-io/sluice/plugins"
)

func TestParseDuration(t *testing.T) {
	good := map[string]time.Duration{
		"15m": 15 * time.Minute, "1d12h": 36 * time.Hour, "1w": 7 * 24 * time.Hour, "250ms": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "0s": 0,
	}
	for text, want := range good {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "15", "m", "-1s", "1 m", "1y", "1us", "9999999999w", "1..5s", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	good := map[string]uint64{
		"0": 0, "1000": 1000, "75GB": 75_000_000_000, "64MiB": 64 << 20, "1.5KB": 1500, "2 TiB": 2 << 40, "7B": 7, "1KiB": 1024, "3K": 3000,
	}
	for text, want := range good {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GB", "-1", "1iB", "1XB", "1kb", "99999999PB", "1 furlong", "1KMB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v", text, got)
		}
	}
}

func TestSettingsReplaceDocumentedLimits(t *testing.T) {
	var s Settings
	if err := json.Unmarshal([]byte(`{"budget": {"bytes": 1000, "window": "1s"}, "http": {"proxy": "proxy:3128", "timeout": "5s"}}`), &s); err != nil {
		t.Fatal(err)
	}
	documented := plugins.Limit{Namespace: "download", Requests: 150, Bytes: 75e9, Window: 15 * time.Minute}
	want := plugins.Limit{Namespace: "download", Requests: 150, Bytes: 1000, Window: time.Second}
	if got := s.Limit(documented); got != want {
		t.Errorf("limit = %+v, want %+v", got, want)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	s.Budget.Window = MaxWindow + 1
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "budget.window: ") {
		t.Errorf("a window that no host keeps: %v", err)
	}
	s.Budget.Window = Duration(time.Second)
	o, err := s.Options(plugins.Config{HTTP: plugins.HTTP{Proxy: "http://host-proxy:1", NoProxy: "internal"}})
	if err != nil || o.HTTP.Proxy != "proxy:3128" || o.HTTP.NoProxy != "internal" || o.Stall != 5*time.Second || o.Share != DefaultShare {
		t.Errorf("options = %+v, %v", o, err)
	}
	if !json.Valid([]byte("{" + SettingsSchema + "}")) {
		t.Error("SettingsSchema isn't the inside of a JSON object")
	}
}
