package splunkhec

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

// sinkName is the sink's type in configs and messages.
const sinkName = "splunk_hec"

// settings are a splunk_hec sink's keys in a config.
type settings struct {
	Endpoint    string           `json:"endpoint"`
	Token       setting.Secret   `json:"token"`
	Ack         bool             `json:"ack"`
	Host        string           `json:"host"`
	Source      string           `json:"source"`
	Sourcetype  string           `json:"sourcetype"`
	Index       string           `json:"index"`
	Attributes  bool             `json:"attributes"`
	Compression string           `json:"compression"`
	BatchSize   setting.Size     `json:"batch_size"`
	Timeout     setting.Duration `json:"timeout"`
	AckTimeout  setting.Duration `json:"ack_timeout"`
	TLS         secure.Settings  `json:"tls"`

	base  string // without a slash at the end
	https bool
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "splunk_hec sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["endpoint", "token"],
  "properties": {
    "endpoint": {
      "type": "string", "minLength": 1,
      "description": "The HTTP Event Collector: https://splunk.example.com:8088. /services/collector/... is added."
    },
    "token": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "The collector's token."},
    "ack": {
      "type": "boolean", "default": true,
      "description": "Wait until Splunk has indexed every request (indexer acknowledgement, which the token must have on). false: a request counts when Splunk has answered, which may be before it is on disk."
    },
    "host": {
      "type": "string", "default": "",
      "description": "Template of the event's host. {pipeline}, {source}, {stream}, {partition}, {log_name}, {date}, {hour}, {labels.NAME} are replaced; empty: Splunk's own."
    },
    "source": {"type": "string", "default": "{log_name}", "description": "Template of source; empty: the token's."},
    "sourcetype": {"type": "string", "default": "{source}", "description": "Template of sourcetype; empty: the token's."},
    "index": {"type": "string", "default": "", "description": "Template of index; empty: the token's. The token must allow it."},
    "attributes": {
      "type": "boolean", "default": true,
      "description": "Put attributes and the source's other columns into the event's indexed fields; false leaves them out and saves disk in Splunk."
    },
    "compression": {"type": "string", "enum": ["gzip", "none"], "default": "gzip", "description": "Compression of requests."},
    "batch_size": {
      "type": ["string", "integer"], "default": "512KiB", "minimum": 1024, "maximum": 67108864, "pattern": "` + setting.SizePattern + `",
      "description": "A request is sent when its events have this many bytes before compression; a larger event goes alone. Some collectors take 1 MB."
    },
    "timeout": {
      "type": "string", "default": "30s", "pattern": "` + setting.DurationPattern + `",
      "description": "How long one request may take."
    },
    "ack_timeout": {
      "type": "string", "default": "5m", "pattern": "` + setting.DurationPattern + `",
      "description": "How long Splunk may take to acknowledge; the slice is sent again then."
    },
    "tls": ` + secure.Schema + `
  }
}`

func defaults() settings {
	return settings{
		Ack: true, Source: "{log_name}", Sourcetype: "{source}", Attributes: true, Compression: "gzip", BatchSize: 512 << 10,
		Timeout: setting.Duration(30 * time.Second), AckTimeout: setting.Duration(5 * time.Minute),
	}
}

const minBatch, maxBatch = 1 << 10, 64 << 20

// metadataKeys are the event's keys that templates fill.
var metadataKeys = [4]string{"host", "source", "sourcetype", "index"}

func (s *settings) templates() [4]string {
	return [4]string{s.Host, s.Source, s.Sourcetype, s.Index}
}

// parse reads and validates settings and reports everything that is wrong with them.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode(sinkName, c.Settings, &s); err != nil {
		return s, err
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := s.parseEndpoint(); err != nil {
		errs = append(errs, err)
	}
	if s.Token == "" || !httpguts.ValidHeaderFieldValue(string(s.Token)) || strings.ContainsAny(string(s.Token), " \t") {
		bad("token: it is one word of printable characters, without `Splunk` before it")
	}
	errs = append(errs, setting.OneOf("compression", s.Compression, "gzip", "none"))
	if s.BatchSize < minBatch || s.BatchSize > maxBatch {
		bad("batch_size: %d bytes is not between %d and %d", s.BatchSize, minBatch, maxBatch)
	}
	if s.Timeout <= 0 {
		bad("timeout: it must be more than nothing")
	}
	if s.AckTimeout <= 0 {
		bad("ack_timeout: it must be more than nothing")
	}
	for i, text := range s.templates() {
		errs = append(errs, target.CheckText(c, metadataKeys[i], text))
	}
	if _, err := s.TLS.Config(c.Base); err != nil {
		errs = append(errs, err)
	}
	if err := setting.Check(sinkName, errs...); err != nil {
		return s, err
	}
	return s, attempt.Check(c)
}

// parseEndpoint takes the endpoint apart.
func (s *settings) parseEndpoint() error {
	u, err := url.Parse(s.Endpoint)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("endpoint: it isn't https://HOST:PORT") // it isn't shown, for a password may be in it
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("endpoint: it takes no user, query or fragment; the token has a key of its own")
	case u.Scheme == "http" && s.TLS.On(false):
		return errors.New("endpoint: it begins with http://, and tls is on: write https://")
	case u.Scheme == "https" && !s.TLS.On(true):
		return errors.New("tls.enabled is false, and the endpoint begins with https://")
	}
	s.https = u.Scheme == "https"
	// Splunk's documents and others' settings have the whole path: what is before it may be a proxy's.
	path := strings.TrimSuffix(u.Path, "/")
	before, after, whole := strings.Cut(path, "/services/collector")
	if whole && after != "" && after != "/event" {
		return fmt.Errorf("endpoint: events go to /services/collector/event, not to %s", path)
	}
	u.Path, u.RawPath = before, ""
	s.base = u.String()
	return nil
}
