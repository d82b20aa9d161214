package kafka

import (
	"context"
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
	two := []sinks.Stream{sinktest.Stream(), {Name: "usage", Schema: arrow.NewSchema([]arrow.Field{{Name: "bytes", Type: arrow.PrimitiveTypes.Int64}}, nil)}}
	for _, tt := range []struct {
		name     string
		settings string
		streams  []sinks.Stream
		want     string
	}{
		{"least", `{"brokers": ["a:1"], "topic": "logs"}`, nil, ""},
		{"all", `{"brokers": ["a:1", "[::1]:2"], "topic": "{labels.tenant}.{stream}.{log_name}", "key": "log_id", "value": "avro", "headers": ["slice", "digest"],
			"compression": "zstd", "delivery": "idempotent", "marker_topic": "m", "transactional_id_prefix": "p", "create_topics": {"partitions": 3, "replication": 3},
			"buffer_size": "64MiB", "tls": {"enabled": true}, "sasl": {"mechanism": "plain", "username": "u", "password": "p"}}`, nil, ""},
		{"no brokers", `{"topic": "logs"}`, nil, "brokers"},
		{"no port", `{"brokers": ["a"], "topic": "logs"}`, nil, "HOST:PORT"},
		{"no topic", `{"brokers": ["a:1"]}`, nil, "topic: a name is needed"},
		{"bad placeholder", `{"brokers": ["a:1"], "topic": "{log}"}`, nil, "{log}"},
		{"bad character", `{"brokers": ["a:1"], "topic": "a b"}`, nil, "letters, digits"},
		{"no such label", `{"brokers": ["a:1"], "topic": "{labels.team}"}`, nil, "no such label"},
		{"marker topic", `{"brokers": ["a:1"], "topic": "sluice.commits"}`, nil, "marker topic"},
		{"bad marker topic", `{"brokers": ["a:1"], "topic": "t", "marker_topic": "a/b"}`, nil, "marker_topic"},
		{"unknown key", `{"brokers": ["a:1"], "topic": "t", "acks": "1"}`, nil, "acks"},
		{"value", `{"brokers": ["a:1"], "topic": "t", "value": "xml"}`, nil, "json, raw, avro, arrow"},
		{"compression", `{"brokers": ["a:1"], "topic": "t", "compression": "brotli"}`, nil, "none, gzip"},
		{"delivery", `{"brokers": ["a:1"], "topic": "t", "delivery": "once"}`, nil, "transaction, idempotent"},
		{"header", `{"brokers": ["a:1"], "topic": "t", "headers": ["x"]}`, nil, "headers"},
		{"header twice", `{"brokers": ["a:1"], "topic": "t", "headers": ["slice", "slice"]}`, nil, "twice"},
		{"digest of many", `{"brokers": ["a:1"], "topic": "t", "headers": ["digest"], "value": "arrow"}`, nil, "holds many"},
		{"buffer", `{"brokers": ["a:1"], "topic": "t", "buffer_size": "1KiB"}`, nil, "buffer_size"},
		{"sasl", `{"brokers": ["a:1"], "topic": "t", "sasl": {"mechanism": "gssapi", "username": "u", "password": "hush"}}`, nil, "sasl.mechanism"},
		{"no password", `{"brokers": ["a:1"], "topic": "t", "sasl": {"mechanism": "plain", "username": "u"}}`, nil, "password"},
		{"tls", `{"brokers": ["a:1"], "topic": "t", "tls": {"ca_file": "nowhere.pem"}}`, nil, "tls.ca_file"},
		{"key", `{"brokers": ["a:1"], "topic": "t", "key": "nothing"}`, nil, `no column "nothing"`},
		{"nested key", `{"brokers": ["a:1"], "topic": "t", "key": "attributes"}`, nil, `column "attributes" is map`},
		{"two streams", `{"brokers": ["a:1"], "topic": "t"}`, two, "events, usage"},
		{"two streams apart", `{"brokers": ["a:1"], "topic": "{stream}"}`, two, ""},
		{"raw without lines", `{"brokers": ["a:1"], "topic": "{stream}", "value": "raw"}`, two, "stream usage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sinks.Config{Settings: json.RawMessage(tt.settings), Pipeline: "prod", Labels: map[string]string{"tenant": "acme"}, Streams: tt.streams}
			if c.Streams == nil {
				c.Streams = []sinks.Stream{sinktest.Stream()}
			}
			err := Definition.Check(context.Background(), c)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if n, err := Definition.Buffer(c); err != nil || n <= 0 {
					t.Errorf("buffer %d, %v", n, err)
				}
				return
			}
			if fault.KindOf(err) != fault.Config {
				t.Errorf("%v is of kind %s", err, fault.KindOf(err))
			}
			contains(t, err, tt.want)
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := saslSettings{Mechanism: "plain", Username: "u", Password: "hush"}
	for _, text := range []string{fmt.Sprintf("%v", s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), s.Password.String(), fmt.Sprint(s.Password)} {
		if strings.Contains(text, "hush") {
			t.Error(text)
		}
	}
}

// Two pipelines with one template have identities of their own, two with one topic have the same.
func TestIdentity(t *testing.T) {
	id := func(topic, pipeline, delivery string) string {
		c := sinks.Config{
			Settings: fmt.Appendf(nil, `{"brokers": ["a:1"], "topic": %q, "delivery": %q}`, topic, delivery), Pipeline: pipeline, Streams: []sinks.Stream{sinktest.Stream()},
		}
		s, tmpl, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		id, err := identity(s, c, "cluster", tmpl)
		if err != nil || len(id) != 32 {
			t.Fatal(id, err)
		}
		return id
	}
	if id("logs", "a", deliverTransaction) != id("logs", "b", deliverTransaction) {
		t.Error("one topic has two identities")
	}
	if id("logs-{pipeline}", "a", deliverTransaction) == id("logs-{pipeline}", "b", deliverTransaction) {
		t.Error("two topics have one identity")
	}
	if id("logs", "a", deliverTransaction) == id("logs", "a", deliverIdempotent) {
		t.Error("what is remembered elsewhere has one identity")
	}
	if id("{stream}", "a", deliverTransaction) == id("events", "a", deliverTransaction) {
		t.Error("two templates have one identity")
	}
}
