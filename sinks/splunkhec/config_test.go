package splunkhec

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestSettings(t *testing.T) {
	interval := []sinks.Stream{{Name: "odd", Schema: arrow.NewSchema([]arrow.Field{
		{Name: "body", Type: arrow.BinaryTypes.String}, {Name: "span", Type: arrow.FixedWidthTypes.MonthInterval},
	}, nil)}}
	for _, tt := range []struct {
		name     string
		settings string
		streams  []sinks.Stream
		want     string
	}{
		{"least", `{"endpoint": "https://splunk:8088", "token": "t"}`, nil, ""},
		{"all", `{"endpoint": "https://splunk:8088/", "token": "t", "ack": false, "host": "{labels.tenant}", "source": "{log_name}", "sourcetype": "a:{stream}",
			"index": "i-{labels.tenant}", "attributes": false, "compression": "none", "batch_size": "1MB", "timeout": "1m", "ack_timeout": "90s",
			"tls": {"server_name": "splunk.example.com"}}`, nil, ""},
		{"without TLS", `{"endpoint": "http://splunk:8088", "token": "t"}`, nil, ""},
		{"no endpoint", `{"token": "t"}`, nil, "endpoint"},
		{"no scheme", `{"endpoint": "splunk:8088", "token": "t"}`, nil, "isn't https://HOST:PORT"},
		{"no host", `{"endpoint": "https://:8088", "token": "t"}`, nil, "isn't https://HOST:PORT"},
		{"query", `{"endpoint": "https://splunk:8088?token=hush", "token": "t"}`, nil, "the token has a key of its own"},
		{"user", `{"endpoint": "https://x:hush@splunk:8088", "token": "t"}`, nil, "the token has a key of its own"},
		{"unreadable", `{"endpoint": "https://x:hush@splunk:80 88", "token": "t"}`, nil, "isn't https://HOST:PORT"},
		{"other path", `{"endpoint": "https://splunk:8088/services/collector/raw", "token": "t"}`, nil, "/services/collector"},
		{"http with tls", `{"endpoint": "http://splunk:8088", "token": "t", "tls": {"enabled": true}}`, nil, "write https://"},
		{"https without", `{"endpoint": "https://splunk:8088", "token": "t", "tls": {"enabled": false}}`, nil, "tls.enabled is false"},
		{"no token", `{"endpoint": "https://splunk:8088"}`, nil, "token: "},
		{"token with its scheme", `{"endpoint": "https://splunk:8088", "token": "Splunk hush"}`, nil, "without `Splunk` before it"},
		{"token of two lines", `{"endpoint": "https://splunk:8088", "token": "hush\n"}`, nil, "one word of printable characters"},
		{"compression", `{"endpoint": "https://splunk:8088", "token": "t", "compression": "zstd"}`, nil, "gzip, none"},
		{"small batch", `{"endpoint": "https://splunk:8088", "token": "t", "batch_size": 1}`, nil, "batch_size: 1 bytes"},
		{"large batch", `{"endpoint": "https://splunk:8088", "token": "t", "batch_size": "1GiB"}`, nil, "batch_size"},
		{"no size", `{"endpoint": "https://splunk:8088", "token": "t", "batch_size": "a lot"}`, nil, "isn't a size"},
		{"timeout", `{"endpoint": "https://splunk:8088", "token": "t", "timeout": "0s"}`, nil, "timeout: "},
		{"ack timeout", `{"endpoint": "https://splunk:8088", "token": "t", "ack_timeout": "0s"}`, nil, "ack_timeout: "},
		{"placeholder", `{"endpoint": "https://splunk:8088", "token": "t", "index": "{tenant}"}`, nil, "index: "},
		{"label", `{"endpoint": "https://splunk:8088", "token": "t", "source": "{labels.team}"}`, nil, "no such label"},
		{"tls", `{"endpoint": "https://splunk:8088", "token": "t", "tls": {"ca_file": "nowhere.pem"}}`, nil, "tls.ca_file"},
		{"half a pair", `{"endpoint": "https://splunk:8088", "token": "t", "tls": {"cert_file": "a.pem"}}`, nil, "go together"},
		{"unknown key", `{"endpoint": "https://splunk:8088", "token": "t", "chanel": "x"}`, nil, "chanel"},
		{"type", `{"endpoint": "https://splunk:8088", "token": "t"}`, interval, "span"},
		{"several", `{"endpoint": "splunk", "token": "", "compression": "lz4"}`, nil, "gzip, none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sinks.Config{Settings: json.RawMessage(tt.settings), Pipeline: "prod", Labels: map[string]string{"tenant": "acme"}, Streams: tt.streams}
			if c.Streams == nil {
				c.Streams = []sinks.Stream{sinktest.Stream()}
			}
			err := Definition.Check(t.Context(), c)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v (kind %s), want an error of kind Config with %q and no secret", err, fault.KindOf(err), tt.want)
			}
		})
	}
}

// TestEndpoint has the ways in which people write the collector's address.
func TestEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://splunk:8088": "https://splunk:8088", "https://splunk:8088/": "https://splunk:8088",
		"https://splunk:8088/services/collector":        "https://splunk:8088",
		"https://splunk:8088/services/collector/":       "https://splunk:8088",
		"https://splunk:8088/services/collector/event":  "https://splunk:8088",
		"https://proxy/splunk/services/collector/event": "https://proxy/splunk",
		"https://event": "https://event", "https://collector.example.com/event": "https://collector.example.com/event",
	} {
		s := settings{Endpoint: endpoint}
		if err := s.parseEndpoint(); err != nil || s.base != want {
			t.Errorf("%s: %q, %v, want %q", endpoint, s.base, err, want)
		}
	}
}

// TestSecret prints settings in every way.
func TestSecret(t *testing.T) {
	s, err := parse(sinks.Config{Settings: []byte(`{"endpoint": "https://splunk:8088", "token": "hush"}`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, s); strings.Contains(text, "hush") {
			t.Errorf("%s tells the token: %s", verb, text)
		}
	}
}
