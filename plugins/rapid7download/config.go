package rapid7download

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rest"
)

// The vendor's documented limits, and where the vendor lives.
const (
	documentedLimit = 20_000_000    // records of one download
	maxLimit        = 500_000_000   // what another of the vendor's documents says
	maxURL          = 8192          // characters of a request's URL
	matchAll        = "where(/.*/)" // sent when the user gives no query: the documented default keeps only errors
	legacyRegion    = "legacy"      // the host from before the regions
	legacyURL       = "https://rest.logentries.com"
	regionalURL     = "https://%s.rest.logs.insight.rapid7.com"
)

// downloadLimit is the documented limit of downloads per key.
var downloadLimit = plugins.Limit{Namespace: "download", Requests: 150, Bytes: 75_000_000_000, Window: 15 * time.Minute}

// managementLimit is the documented limit of the calls that Check makes.
var managementLimit = plugins.Limit{Namespace: "management", Requests: 1500, Window: 15 * time.Minute}

// knownRegions are those that the vendor's documents name. Others are tried, since new ones come without a release of ours.
var knownRegions = []string{"us", "us2", "us3", "eu", "ca", "au", "ap", legacyRegion}

// configSchema describes the settings. Vendor defaults that the source doesn't send aren't defaults here.
const configSchema = `{
"$schema": "https://json-schema.org/draft/2020-12/schema",
"title": "rapid7-download",
"description": "Rapid7 Log Search: downloads the lines of logs.",
"type": "object",
"additionalProperties": false,
"required": ["api_key", "logs"],
"anyOf": [{"required": ["region"]}, {"required": ["base_url"]}],
"properties": {
"region": {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
  "examples": ["us", "us2", "us3", "eu", "ca", "au", "ap", "legacy"],
  "description": "Where the account's data lives: us, us2, us3, eu, ca, au, ap, or legacy for rest.logentries.com. Needed unless base_url is given."},
"api_key": {"type": "string", "minLength": 1, "x-sluice-secret": true,
  "description": "API key; the vendor's document asks for one with read/write privileges."},
"logs": {"type": "array", "minItems": 1,
  "items": {"type": "string", "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"},
  "description": "IDs of the logs, any number of them; each is a partition and is downloaded by itself."},
"query": {"type": "string", "minLength": 1, "x-sluice-selection": true,
  "description": "LEQL that keeps the records it matches, such as where(status>=500). All records when left out. No calculations."},
"limit": {"type": "integer", "minimum": 1, "maximum": 500000000, "default": 20000000,
  "description": "The vendor's cap on the records of one download: never a sample, a download that reaches it is cut smaller."},
"gzip": {"type": "boolean", "default": false, "description": "Ask the vendor to compress. The budget counts bytes as they travel."},
"to_bound": {"enum": ["exclusive", "inclusive"], "default": "exclusive",
  "description": "Whether the vendor's 'to' leaves out or includes its own millisecond, which isn't documented. Guessed wrongly, 'exclusive' doubles records on a seam and 'inclusive' loses them."},` + rest.SettingsSchema + `
}}`

// settings are the source's config.
type settings struct {
	Region  string   `json:"region"`
	APIKey  string   `json:"api_key"`
	Logs    []string `json:"logs"`
	Query   string   `json:"query"`
	Limit   uint64   `json:"limit"`
	Gzip    bool     `json:"gzip"`
	ToBound string   `json:"to_bound"`
	rest.Settings

	inclusive bool     // from ToBound
	doubled   []string // logs that were given twice
}

var (
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	region = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// parseSettings reads the config and fills in what was left out. The error lists everything that is wrong, each with its
// key, and never a secret's value.
func parseSettings(raw json.RawMessage) (settings, error) {
	s := settings{Limit: documentedLimit, ToBound: "exclusive"}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return settings{}, fmt.Errorf("settings: %w", err)
	}
	s.Region = strings.ToLower(strings.TrimSpace(s.Region))
	s.BaseURL = strings.TrimSpace(s.BaseURL)
	s.APIKey = strings.TrimSpace(s.APIKey)
	s.inclusive = s.ToBound == "inclusive"
	s.normaliseLogs()
	if s.Query = strings.TrimSpace(s.Query); s.Query == "" {
		s.Query = matchAll
	}
	if err := s.validate(); err != nil {
		return settings{}, err
	}
	return s, nil
}

func (s *settings) normaliseLogs() {
	var logs []string
	for _, id := range s.Logs {
		id = strings.ToLower(strings.TrimSpace(id))
		if slices.Contains(logs, id) {
			s.doubled = append(s.doubled, id)
			continue
		}
		logs = append(logs, id)
	}
	s.Logs = logs
}

func (s *settings) validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if s.Region == "" && s.BaseURL == "" {
		bad("region", "is missing: want one of %s, or a base_url", strings.Join(knownRegions, ", "))
	}
	if s.Region != "" && !region.MatchString(s.Region) {
		bad("region", "%q can't be part of a host name: want one of %s", s.Region, strings.Join(knownRegions, ", "))
	}
	if _, err := rest.ParseBaseURL(s.baseURL(), true); err != nil && s.BaseURL != "" {
		bad("base_url", "%w", err)
	}
	if s.APIKey == "" {
		bad("api_key", "is empty")
	} else if strings.ContainsFunc(s.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad("api_key", "holds a character that no key has (white space, a line break or non-ASCII)")
	}
	if len(s.Logs) == 0 {
		bad("logs", "is empty: want the IDs of the logs to download")
	}
	for i, id := range s.Logs {
		if !uuid.MatchString(id) {
			bad(fmt.Sprintf("logs[%d]", i), "%q is not a log ID: want a UUID such as aee00b66-a543-43dc-b093-53963c2e8f41", id)
		}
	}
	if word := calculation(s.Query); word != "" {
		bad("query", "%s(...) is a calculation, which the vendor refuses to download: keep only where(...)", word)
	}
	if s.Limit == 0 || s.Limit > maxLimit {
		bad("limit", "%d isn't between 1 and %d", s.Limit, maxLimit)
	}
	if s.ToBound != "exclusive" && s.ToBound != "inclusive" {
		bad("to_bound", "%q: want exclusive or inclusive", s.ToBound)
	}
	if err := s.Settings.Validate(); err != nil {
		errs = append(errs, err)
	}
	if n := len(s.Query); n > maxURL || len(s.baseURL())+len(url.QueryEscape(s.Query))+200 > maxURL {
		bad("query", "is too long: the vendor takes URLs of %d characters", maxURL)
	}
	return errors.Join(errs...)
}

func (s *settings) baseURL() string {
	switch {
	case s.BaseURL != "":
		return s.BaseURL
	case s.Region == legacyRegion:
		return legacyURL
	}
	return fmt.Sprintf(regionalURL, s.Region)
}

// place names where the key should be valid, for hints.
func (s *settings) place() string {
	if s.BaseURL != "" {
		return "base_url " + s.BaseURL
	}
	return "region " + s.Region
}

// showsKey says whether the key would travel unencrypted over a network.
func showsKey(base *url.URL) bool {
	if base.Scheme != "http" {
		return false
	}
	host := base.Hostname()
	addr, err := netip.ParseAddr(host)
	local := err == nil && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
	return !local
}

// leqlLiteral matches what LEQL takes as text: regular expressions and strings.
var leqlLiteral = regexp.MustCompile(`(?s)/(?:[^/\\]|\\.)*/|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)

var leqlCalculation = regexp.MustCompile(`(?i)\b(calculate|groupby)\s*\(`)

// calculation returns the first calculation of a query in lower case, "" without one. Literals may hold the words.
func calculation(query string) string {
	m := leqlCalculation.FindStringSubmatch(leqlLiteral.ReplaceAllString(query, " "))
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1])
}
