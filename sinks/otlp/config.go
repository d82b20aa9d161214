package otlp

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

// settings are an otlp sink's keys in a config.
type settings struct {
	Endpoint    string                    `json:"endpoint"`
	Protocol    string                    `json:"protocol"`
	Headers     map[string]setting.Secret `json:"headers"`
	Resource    map[string]string         `json:"resource"`
	Compression string                    `json:"compression"`
	BatchSize   setting.Size              `json:"batch_size"`
	Timeout     setting.Duration          `json:"timeout"`
	TLS         secure.Settings           `json:"tls"`

	address string // of grpc: host:port
	url     string // of http
	https   bool
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "otlp sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["endpoint"],
  "properties": {
    "endpoint": {
      "type": "string", "minLength": 1,
      "description": "The receiver: https://otel.example.com:4317, or http:// without TLS; over http the path /v1/logs is added unless there is one."
    },
    "protocol": {
      "type": "string", "enum": ["grpc", "http"], "default": "grpc",
      "description": "grpc (port 4317 by custom), or http with protobuf bodies (port 4318)."
    },
    "headers": {
      "type": "object", "additionalProperties": {"type": "string"}, "x-sluice-secret": true,
      "description": "Headers, or metadata with grpc, of every request, such as a token."
    },
    "resource": {
      "type": "object", "additionalProperties": {"type": "string"}, "default": {"service.name": "{source}"},
      "description": "Attributes of the resource. {pipeline}, {source}, {stream}, {partition}, {log_name}, {date}, {hour}, {labels.NAME} are replaced; one that is empty then is left out."
    },
    "compression": {"type": "string", "enum": ["gzip", "none"], "default": "gzip", "description": "Compression of requests."},
    "batch_size": {
      "type": ["string", "integer"], "default": "1MiB", "minimum": 1024, "maximum": 67108864, "pattern": "` + setting.SizePattern + `",
      "description": "A request is sent when its records have this many bytes; a larger record goes alone. gRPC receivers take 4MiB by default."
    },
    "timeout": {
      "type": "string", "default": "30s", "pattern": "` + setting.DurationPattern + `",
      "description": "How long one request may take."
    },
    "tls": ` + secure.Schema + `
  }
}`

func defaults() settings {
	return settings{
		Protocol: "grpc", Resource: map[string]string{"service.name": "{source}"}, Compression: "gzip",
		BatchSize: 1 << 20, Timeout: setting.Duration(30 * time.Second),
	}
}

const minBatch, maxBatch = 1 << 10, 64 << 20

// own are resource attributes that every request has.
const (
	attributeStream  = "sluice.stream"
	attributeSource  = "sluice.source"
	attributeLogID   = "sluice.log_id"
	attributeLogName = "sluice.log_name"
)

// parse reads and validates settings and reports everything that is wrong with them.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	standard := s.Resource
	s.Resource = nil // a map that is given replaces the default, it doesn't add to it
	if err := setting.Decode("otlp", c.Settings, &s); err != nil {
		return s, err
	}
	if s.Resource == nil {
		s.Resource = standard
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := s.parseEndpoint(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, setting.OneOf("protocol", s.Protocol, "grpc", "http"))
	errs = append(errs, setting.OneOf("compression", s.Compression, "gzip", "none"))
	if s.BatchSize < minBatch || s.BatchSize > maxBatch {
		bad("batch_size: %d bytes is not between %d and %d", s.BatchSize, minBatch, maxBatch)
	}
	if s.Timeout <= 0 {
		bad("timeout: it must be more than nothing")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		reserved := strings.HasPrefix(strings.ToLower(name), "grpc-") || slices.Contains([]string{"content-type", "content-encoding", "content-length", "host", "te"}, strings.ToLower(name))
		switch {
		case !httpguts.ValidHeaderFieldName(name) || reserved:
			bad("headers: %q can't be set", name)
		case !httpguts.ValidHeaderFieldValue(string(s.Headers[name])):
			bad("headers: the value of %q can't stand in a header", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resource)) {
		errs = append(errs, target.CheckText(c, "resource."+name, s.Resource[name]))
		if name == "" || slices.Contains([]string{attributeStream, attributeSource, attributeLogID, attributeLogName}, name) {
			bad("resource: %q is set by the sink", name)
		}
	}
	if _, err := s.TLS.Config(c.Base); err != nil {
		errs = append(errs, err)
	}
	if s.https && s.TLS.Enabled != nil && !*s.TLS.Enabled {
		bad("tls.enabled is false, and the endpoint begins with https://")
	}
	if err := setting.Check("otlp", errs...); err != nil {
		return s, err
	}
	return s, attempt.Check(c)
}

// parseEndpoint takes the endpoint apart.
func (s *settings) parseEndpoint() error {
	text := s.Endpoint
	if !strings.Contains(text, "://") {
		scheme := "http://"
		if s.TLS.On(false) {
			scheme = "https://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("endpoint: it isn't https://HOST:PORT") // it isn't shown, for a password may be in it
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("endpoint: %q is neither http:// nor https://", u.Scheme+"://")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("endpoint: it takes no user, query or fragment; a token is one of the headers")
	case s.Protocol == "grpc" && strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("endpoint: %q has a path, which grpc has no use for; is the protocol http?", s.Endpoint)
	case u.Scheme == "http" && s.TLS.On(false):
		return errors.New("endpoint: it begins with http://, and tls is on: write https://")
	}
	s.https = u.Scheme == "https"
	port := u.Port()
	if port == "" {
		port = map[string]string{"grpc": "4317", "http": "4318"}[s.Protocol]
	}
	u.Host = net.JoinHostPort(u.Hostname(), port)
	s.address = u.Host
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/logs"
	}
	s.url = u.String()
	return nil
}
