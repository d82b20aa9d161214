package config

import (
	"encoding/json"
	"testing"
)

func TestSettingsHash(t *testing.T) {
	schema := []byte(`{"type": "object", "properties": {
		"region": {"type": "string"}, "api_key": {"type": "string", "x-sluice-secret": true},
		"budget": {"type": "object"}, "time": {"type": "object"},
		"projects": {"type": "array", "items": {"type": "object", "properties": {"key": {"type": "string", "x-sluice-secret": true}}}}}}`)
	hash := func(settings string) string {
		t.Helper()
		h, err := Settings{JSON: json.RawMessage(settings)}.SettingsHash(schema)
		if err != nil || len(h) != 32 {
			t.Fatalf("got %q, %v", h, err)
		}
		return h
	}
	base := hash(`{"region": "eu", "api_key": "one", "time": {"zone": "UTC", "regex": "x"}}`)
	for _, same := range []string{
		`{"time": {"regex": "x", "zone": "UTC"}, "api_key": "two", "region": "eu"}`,
		`{"region": "eu", "time": {"zone": "UTC", "regex": "x"}, "budget": {"requests": 3}, "projects": [{"key": "a secret"}]}`,
	} {
		if hash(same) != base {
			t.Errorf("%s has another hash", same)
		}
	}
	for _, other := range []string{
		`{"region": "us", "time": {"zone": "UTC", "regex": "x"}}`,
		`{"region": "eu", "time": {"zone": "CET", "regex": "x"}}`,
		`{"region": "eu"}`,
	} {
		if hash(other) == base {
			t.Errorf("%s has the same hash", other)
		}
	}
}
