package opensearch

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

const sinkType = "opensearch"

// settings are an opensearch sink's keys in a config.
type settings struct {
	URLs        []string         `json:"urls"`
	Username    string           `json:"username"`
	Password    string           `json:"password"`
	APIKey      string           `json:"api_key"`
	TLS         secure.Settings  `json:"tls"`
	Index       string           `json:"index"`
	DataStream  bool             `json:"data_stream"`
	Naming      string           `json:"naming"`
	Compression string           `json:"compression"`
	BatchBytes  setting.Size     `json:"batch_bytes"`
	Timeout     setting.Duration `json:"timeout"`

	index target.Template
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "opensearch sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["urls"],
  "properties": {
    "urls": {
      "type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1},
      "description": "Nodes of one cluster: https://search.example.com:9200. When one fails the next is asked."
    },
    "username": {"type": "string", "minLength": 1, "description": "User, with password."},
    "password": {"type": "string", "x-sluice-secret": true, "description": "The user's password."},
    "api_key": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "Elasticsearch's API key, in its encoded form, in place of username and password."},
    "tls": ` + secure.Schema + `,
    "index": {
      "type": "string", "minLength": 1, "default": "logs-{source}-{stream}",
      "description": "Index or data stream. {pipeline}, {source}, {stream}, {partition}, {partition_by}, {log_name}, {date}, {hour} (UTC, of a slice's begin) and {labels.NAME} are replaced; in their values upper case becomes lower case, and what a name can't hold becomes _."
    },
    "data_stream": {
      "type": "boolean", "default": false,
      "description": "index is a data stream, made if it isn't there; an index template with data_stream must match it."
    },
    "naming": {
      "type": "string", "enum": ["ecs", "columns"], "default": "ecs",
      "description": "ecs: the field names of the Elastic Common Schema; columns: the stream's column names, and @timestamp."
    },
    "compression": {"type": "string", "enum": ["none", "gzip"], "default": "gzip", "description": "Compression of requests."},
    "batch_bytes": {
      "type": ["string", "integer"], "default": "5MiB", "minimum": 65536, "pattern": "` + setting.SizePattern + `",
      "description": "A request ends with the record that makes it at least this large, before compression. KB=1000, KiB=1024."
    },
    "timeout": {
      "type": "string", "default": "2m", "pattern": "` + setting.DurationPattern + `",
      "description": "How long one request's records may take, with all that is sent again because a node is down or busy; then the slice fails and is tried again later."
    }
  }
}`

func defaults() settings {
	return settings{
		Index: "logs-{source}-{stream}", Naming: "ecs", Compression: "gzip", BatchBytes: 5 << 20, Timeout: setting.Duration(2 * time.Minute),
	}
}

// minBatch keeps a mistyped unit from making a request of each record.
const minBatch = 64 << 10

// parse reads and validates settings and reports everything that is wrong with them.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode(sinkType, c.Settings, &s); err != nil {
		return s, err
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.URLs) == 0 {
		bad("urls: one is needed")
	}
	for i, text := range s.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
			bad("urls[%d]: write it as https://HOST:PORT", i)
		case u.User != nil:
			bad("urls[%d]: username and password are keys of their own", i)
		case u.Scheme == "http" && s.TLS.On(false):
			bad("urls[%d]: it begins with http, and tls is set: write https", i)
		case u.Scheme == "https" && !s.TLS.On(true):
			bad("urls[%d]: it begins with https, and tls.enabled is false", i)
		default:
			s.URLs[i] = strings.TrimSuffix(text, "/")
		}
	}
	if (s.Username == "") != (s.Password == "") {
		bad("username and password go together: one of them is missing")
	}
	if s.APIKey != "" && s.Username != "" {
		bad("api_key stands in place of username and password: give either")
	}
	for key, value := range map[string]string{"username": s.Username, "password": s.Password, "api_key": s.APIKey} {
		if strings.ContainsFunc(value, unicode.IsControl) {
			bad("%s: it has a control character", key)
		}
	}
	errs = append(errs, setting.OneOf("naming", s.Naming, "ecs", "columns"), setting.OneOf("compression", s.Compression, "none", "gzip"))
	if s.BatchBytes < minBatch {
		bad("batch_bytes: %d bytes is less than %d", s.BatchBytes, minBatch)
	}
	if s.Timeout < setting.Duration(time.Second) {
		bad("timeout: less than a second is never enough")
	}
	if _, err := s.TLS.Config(c.Base); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.parseIndex(c), attempt.Check(c))
	for _, st := range c.Streams {
		if _, err := newDocuments(s.Naming, c.Source, st.Schema); err != nil {
			errs = append(errs, fmt.Errorf("stream %s: %w", st.Name, err))
		}
	}
	return s, setting.Check(sinkType, errs...)
}

func (s *settings) parseIndex(c sinks.Config) error {
	var err error
	if s.index, err = target.Parse(s.Index); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := target.Check(c, "index", s.index); err != nil {
		return err
	}
	// What stands around the placeholders must be fit as it is; values are made so.
	name, err := s.place(c, func(string) string { return "x" })
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return checkIndex(name)
}

// place is the index with everything filled in that is alike in all slices, and what open returns for the rest.
func (s settings) place(c sinks.Config, open func(name string) string) (string, error) {
	labels := map[string]string{}
	for name, value := range c.Labels {
		labels[name] = escapeIndex(value)
	}
	return s.index.Fill(target.Values{
		Pipeline: escapeIndex(c.Pipeline), Source: escapeIndex(c.Source), Labels: labels, Stream: open("stream"), Partition: open("partition"),
		PartitionBy: open("partition_by"), LogName: open("log_name"), Date: open("date"), Hour: open("hour"),
	}, target.Plain)
}

// maxIndex is the most bytes of a name.
const maxIndex = 255

// forbidden are the characters that no name may have, beside upper case.
const forbidden = `\/*?"<>| ,#:`

func checkIndex(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("index: %q isn't a name", name)
	case strings.ContainsAny(name, forbidden) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("index: %q has a character that no name may have: %s", name, forbidden)
	case strings.ToLower(name) != name:
		return fmt.Errorf("index: %q has upper case, which no name may have", name)
	case strings.ContainsRune("-_+", rune(name[0])):
		return fmt.Errorf("index: %q begins with -, _ or +, which no name may", name)
	case len(name) > maxIndex:
		return fmt.Errorf("index: %q has %d bytes, a name may have %d", name, len(name), maxIndex)
	}
	return nil
}

// escapeIndex makes a value fit for the inside of a name.
func escapeIndex(value string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(forbidden, r) || unicode.IsControl(r) {
			return '_'
		}
		return unicode.ToLower(r)
	}, value)
}

// buffer is what a transaction holds beyond the batch in Append: the records of a request, with room to grow, the request and the one
// before it, and what counts IDs.
func (s settings) buffer() int64 { return 4*int64(s.BatchBytes) + gzipMemory + attempt.Memory }

// gzipMemory is what a compressor holds.
const gzipMemory = 1 << 20
