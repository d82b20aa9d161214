package config

import "testing"

func TestNearest(t *testing.T) {
	regions := []string{"us", "us2", "us3", "eu", "ca", "au", "ap"}
	keys := []string{"api_key", "region", "logs", "limit", "max_backoff", "on_failure"}
	for _, tt := range []struct {
		in   string
		of   []string
		want string
	}{
		{"eu1", regions, "eu"},
		{"EU", regions, "eu"},
		{"us-2", regions, "us2"},
		{"us4", regions, "us"},
		{"mars", regions, ""},
		{"apikey", keys, "api_key"},
		{"api-key", keys, "api_key"},
		{"API_KEY", keys, "api_key"},
		{"regoin", keys, "region"},
		{"max_backof", keys, "max_backoff"},
		{"onfailure", keys, "on_failure"},
		{"secret", keys, ""},
		{"incl", []string{"exclusive", "inclusive"}, "inclusive"},
		{"max", []string{"max_backoff", "max_record"}, ""},
		{"", keys, ""},
		{"x", nil, ""},
	} {
		if got := nearest(tt.in, tt.of); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}
