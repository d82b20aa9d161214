package kafka

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

// sinkName is the sink's type in configs and messages.
const sinkName = "kafka"

// Values of `delivery`.
const (
	deliverTransaction = "transaction"
	deliverIdempotent  = "idempotent"
)

// Special values of `key`; every other is a column's name.
const (
	keyPartition = "partition"
	keyNone      = "none"
)

// Headers that `headers` may list.
const (
	headerSlice  = "slice"
	headerSource = "source"
	headerStream = "stream"
	headerPart   = "partition"
	headerDigest = "digest"
)

var allHeaders = []string{headerSlice, headerSource, headerStream, headerPart, headerDigest}

type settings struct {
	Brokers      []string        `json:"brokers"`
	Topic        string          `json:"topic"`
	Key          string          `json:"key"`
	Value        string          `json:"value"`
	Headers      []string        `json:"headers"`
	Compression  string          `json:"compression"`
	Delivery     string          `json:"delivery"`
	MarkerTopic  string          `json:"marker_topic"`
	IDPrefix     string          `json:"transactional_id_prefix"`
	CreateTopics *createTopics   `json:"create_topics"`
	BufferSize   setting.Size    `json:"buffer_size"`
	TLS          secure.Settings `json:"tls"`
	SASL         *saslSettings   `json:"sasl"`
}

type createTopics struct {
	Partitions  int32 `json:"partitions"`
	Replication int16 `json:"replication"`
}

type saslSettings struct {
	Mechanism string         `json:"mechanism"`
	Username  string         `json:"username"`
	Password  setting.Secret `json:"password"`
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "kafka sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["brokers", "topic"],
  "properties": {
    "brokers": {
      "type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1},
      "description": "Addresses HOST:PORT that are asked for the cluster; the rest of it is found from there."
    },
    "topic": {
      "type": "string", "minLength": 1,
      "description": "Topic that records go to: a template of {pipeline}, {source}, {stream}, {partition}, {partition_by}, {log_name}, {date}, {hour} and {labels.NAME}. Characters that no topic may have become _."
    },
    "key": {
      "type": "string", "minLength": 1, "default": "partition",
      "description": "Key of each message: partition (the log ID or project key, so that a log's records stay in order), none, or the name of a column, whose null is no key."
    },
    "value": {
      "type": "string", "enum": ["json", "raw", "avro", "arrow"], "default": "json",
      "description": "Value of each message. json: an object of the record's columns; raw: the line's exact bytes; avro: a datum whose schema the header sluice.schema names; arrow: an IPC stream of many records."
    },
    "headers": {
      "type": "array", "uniqueItems": true, "items": {"type": "string", "enum": ["slice", "source", "stream", "partition", "digest"]}, "default": ["slice", "source", "stream"],
      "description": "Headers of each message, with sluice. before their names. digest is the record's own, by which a reader can drop repeats."
    },
    "compression": {
      "type": "string", "enum": ["none", "gzip", "snappy", "lz4", "zstd"], "default": "lz4",
      "description": "Compression of the batches of messages."
    },
    "delivery": {
      "type": "string", "enum": ["transaction", "idempotent"], "default": "transaction",
      "description": "transaction: exactly once for readers with isolation.level=read_committed. idempotent: at least once, visible at once, no marker topic."
    },
    "marker_topic": {
      "type": "string", "minLength": 1, "maxLength": 249, "pattern": "^[a-zA-Z0-9._-]+$", "default": "sluice.commits",
      "description": "Topic of the markers that say which slices are committed. Sinks may share it. It must keep its messages for ever, or be compacted."
    },
    "transactional_id_prefix": {
      "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[a-zA-Z0-9._-]+$", "default": "sluice",
      "description": "What the transactional IDs begin with: rights are given to the prefix."
    },
    "create_topics": {
      "type": "object", "additionalProperties": false,
      "description": "Make topics that aren't there; without it they are an error.",
      "properties": {
        "partitions": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 6, "description": "Partitions of a topic for records."},
        "replication": {"type": "integer", "minimum": -1, "maximum": 1000, "default": -1, "description": "Replicas of each partition; -1: the cluster's default."}
      }
    },
    "buffer_size": {
      "type": ["string", "integer"], "default": "16MiB", "minimum": 1048576, "pattern": "` + setting.SizePattern + `",
      "description": "Bytes of messages on their way to the brokers, of each slice that runs; also the largest record. KB=1000, KiB=1024."
    },
    "tls": ` + secure.Schema + `,
    "sasl": {
      "type": "object", "additionalProperties": false, "required": ["mechanism", "username", "password"],
      "description": "Credentials for the brokers.",
      "properties": {
        "mechanism": {"type": "string", "enum": ["plain", "scram-sha-256", "scram-sha-512"], "description": "plain sends the password as it is: use it with tls only."},
        "username": {"type": "string", "minLength": 1, "description": "The user's name."},
        "password": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "The user's password."}
      }
    }
  }
}`

func defaults() settings {
	return settings{
		Key: keyPartition, Value: "json", Headers: []string{headerSlice, headerSource, headerStream}, Compression: "lz4",
		Delivery: deliverTransaction, MarkerTopic: "sluice.commits", IDPrefix: "sluice", BufferSize: 16 << 20,
	}
}

// minBuffer bounds buffer_size from below.
const minBuffer = 1 << 20

// parse decodes and checks the settings, without asking the cluster.
func parse(c sinks.Config) (settings, target.Template, error) {
	s := defaults()
	if err := setting.Decode(sinkName, c.Settings, &s); err != nil {
		return s, target.Template{}, err
	}
	t, errs := s.check(c)
	if len(errs) > 0 {
		return s, t, setting.Wrong(sinkName, errors.Join(errs...))
	}
	for _, st := range c.Streams {
		if _, err := newValues(s, st.Schema, st.PartitionBy); err != nil {
			return s, t, fmt.Errorf("stream %s: %w", st.Name, err)
		}
	}
	return s, t, nil
}

func (s *settings) check(c sinks.Config) (target.Template, []error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.Brokers) == 0 {
		wrong("brokers: at least one address is needed")
	}
	for _, b := range s.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			wrong("brokers: %q isn't HOST:PORT", b)
		}
	}
	oneOf := func(key, value string, all ...string) {
		if !slices.Contains(all, value) {
			wrong("%s: %q isn't one of %s", key, value, strings.Join(all, ", "))
		}
	}
	oneOf("value", s.Value, valueJSON, valueRaw, valueAvro, valueArrow)
	oneOf("compression", s.Compression, "none", "gzip", "snappy", "lz4", "zstd")
	oneOf("delivery", s.Delivery, deliverTransaction, deliverIdempotent)
	for i, h := range s.Headers {
		oneOf("headers", h, allHeaders...)
		if slices.Contains(s.Headers[:i], h) {
			wrong("headers: %s is there twice", h)
		}
	}
	if s.Value == valueArrow && slices.Contains(s.Headers, headerDigest) {
		wrong("headers: digest is of one record, and a message of value arrow holds many")
	}
	if s.BufferSize < minBuffer {
		wrong("buffer_size: %d bytes is less than %d", s.BufferSize, minBuffer)
	}
	if s.Key == "" {
		wrong("key: use partition, none or a column's name")
	}
	for key, name := range map[string]string{"marker_topic": s.MarkerTopic, "transactional_id_prefix": s.IDPrefix} {
		if name == "" || topicName(name) != name {
			wrong("%s: %q may have letters, digits, '.', '_' and '-' only", key, name)
		}
	}
	if s.CreateTopics != nil {
		if s.CreateTopics.Partitions == 0 {
			s.CreateTopics.Partitions = 6
		}
		if s.CreateTopics.Replication == 0 {
			s.CreateTopics.Replication = -1
		}
		if s.CreateTopics.Partitions < 1 || s.CreateTopics.Replication < -1 {
			wrong("create_topics: partitions and replication are positive (replication may be -1)")
		}
	}
	if _, err := s.TLS.Config(c.Base); err != nil {
		errs = append(errs, err)
	}
	if a := s.SASL; a != nil {
		oneOf("sasl.mechanism", a.Mechanism, "plain", "scram-sha-256", "scram-sha-512")
		if a.Username == "" || a.Password == "" {
			wrong("sasl: username and password are needed")
		}
	}
	t, err := target.Parse(s.Topic)
	switch {
	case s.Topic == "":
		wrong("topic: a name is needed")
	case err != nil:
		wrong("topic: %w", err)
	default:
		if err := target.Check(c, "topic", t); err != nil {
			errs = append(errs, err)
		}
		if plain := literal(t); topicName(plain) != plain {
			wrong("topic: %q: outside of placeholders it may have letters, digits, '.', '_' and '-' only", s.Topic)
		}
		if s.Topic == s.MarkerTopic {
			wrong("topic: %q is the marker topic; records need one of their own", s.Topic)
		}
	}
	return t, errs
}

// literal is the template's text without its placeholders.
func literal(t target.Template) string {
	var out strings.Builder
	depth := 0
	for _, r := range t.String() {
		switch {
		case r == '{':
			depth++
		case r == '}':
			depth--
		case depth == 0:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// maxTopic is how long a topic's name may be.
const maxTopic = 249

// topicName makes a value fit for a topic's name: every character that none may have becomes _.
func topicName(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, value)
}

// topicOf fills the template.
func topicOf(t target.Template, v target.Values) (string, error) {
	name, err := t.Fill(v, topicName)
	if err != nil {
		return "", fault.New(fault.Config, "name the topic", "", err)
	}
	if name == "" || name == "." || name == ".." || len(name) > maxTopic {
		return "", fault.New(fault.Config, "name the topic", "put something constant into `topic`, or shorten it",
			fmt.Errorf("%q makes the name %q, which no topic may have", t.String(), name))
	}
	return name, nil
}

// buffer is what Sizer declares: the messages themselves, and their compressed copies in requests that are on their way.
func (s settings) buffer() int64 { return 2*int64(s.BufferSize) + 1<<20 }
