package logentries

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

// Where the vendor lives, and what it takes.
const (
	maxURL       = 8192          // characters of a request's URL: longer queries go in a body
	maxQuery     = 64 << 10      // bytes; a guard, not a limit of the vendor's
	maxPerPage   = 500           // events of a page
	matchAll     = "where(/.*/)" // sent when the user gives no query: one of the vendor's documents asks for one
	legacyRegion = "legacy"      // the host from before the regions
	legacyURL    = "https://rest.logentries.com"
	regionalURL  = "https://%s.rest.logs.insight.rapid7.com"
)

// The documented limits per key; what the settings say replaces the first.
var (
	queryLimit      = plugins.Limit{Namespace: "query", Requests: 1500, Window: 15 * time.Minute}
	pollLimit       = plugins.Limit{Namespace: "poll", Requests: 10000, Window: 15 * time.Minute}
	managementLimit = plugins.Limit{Namespace: "management", Requests: 1500, Window: 15 * time.Minute}
	usageLimit      = plugins.Limit{Namespace: "usage", Requests: 500, Window: 15 * time.Minute}
)

// knownRegions are those that the vendor's documents name. Others are tried, since new ones come without a release of ours.
var knownRegions = []string{"us", "us2", "us3", "eu", "ca", "au", "ap", legacyRegion}

// configSchema describes the settings.
const configSchema = `{
"$schema": "https://json-schema.org/draft/2020-12/schema",
"title": "logentries",
"description": "Rapid7 Log Search (formerly Logentries): events by its query API, with their times; logs, log sets, saved queries, users, account and usage.",
"type": "object",
"additionalProperties": false,
"required": ["api_key"],
"anyOf": [{"required": ["region"]}, {"required": ["base_url"]}],
"dependentRequired": {"owner_key": ["owner_key_id", "account_id"], "owner_key_id": ["owner_key", "account_id"], "account_id": ["owner_key", "owner_key_id"]},
"properties": {
"region": {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
  "examples": ["us", "us2", "us3", "eu", "ca", "au", "ap", "legacy"],
  "description": "Where the account's data lives: us, us2, us3, eu, ca, au, ap, or legacy for rest.logentries.com. Needed unless base_url is given."},
"api_key": {"type": "string", "minLength": 1, "x-sluice-secret": true,
  "description": "API key; reading is enough for events, logs, log sets and saved queries, usage asks for read/write privileges."},
"owner_key": {"type": "string", "minLength": 1, "x-sluice-secret": true,
  "description": "Owner API key, for the streams users and account. It signs requests and is never sent."},
"owner_key_id": {"type": "string", "minLength": 1, "description": "ID of the owner API key."},
"account_id": {"type": "string", "minLength": 1, "pattern": "^[0-9A-Za-z-]+$", "description": "Account resource ID, for the streams users and account."},
"logs": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1},
  "description": "IDs or names of the logs whose events are read; each is a partition. A name that several logs have is an error that lists their IDs."},
"logsets": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1},
  "description": "IDs or names of log sets: all of their logs are read."},
"query": {"type": "string", "minLength": 1, "x-sluice-selection": true,
  "description": "LEQL that keeps the events it matches, such as where(status>=500). All events when left out. No calculations."},
"to_bound": {"enum": ["exclusive", "inclusive"], "default": "exclusive",
  "description": "Whether the vendor's 'to' leaves out or includes its own millisecond, which isn't documented. With 'exclusive' nothing is lost or doubled either way: what lies beyond a slice is left to the next. 'inclusive', if wrong, loses events."},` + rest.SettingsSchema + `
}}`

// settings are the source's config.
type settings struct {
	Region     string   `json:"region"`
	APIKey     string   `json:"api_key"`
	OwnerKey   string   `json:"owner_key"`
	OwnerKeyID string   `json:"owner_key_id"`
	AccountID  string   `json:"account_id"`
	Logs       []string `json:"logs"`
	Logsets    []string `json:"logsets"`
	Query      string   `json:"query"`
	ToBound    string   `json:"to_bound"`
	rest.Settings

	inclusive bool // from ToBound
}

var (
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	region = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	pathID = regexp.MustCompile(`^[0-9A-Za-z-]+$`)
)

// parseSettings reads the config and fills in what was left out. The error lists everything that is wrong, each with its
// key, and never a secret's value.
func parseSettings(raw json.RawMessage) (settings, error) {
	s := settings{ToBound: "exclusive"}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return settings{}, fmt.Errorf("settings: %w", err)
	}
	s.Region = strings.ToLower(strings.TrimSpace(s.Region))
	for _, text := range []*string{&s.BaseURL, &s.APIKey, &s.OwnerKey, &s.OwnerKeyID, &s.AccountID, &s.Query} {
		*text = strings.TrimSpace(*text)
	}
	s.inclusive = s.ToBound == "inclusive"
	s.Logs, s.Logsets = normalise(s.Logs), normalise(s.Logsets)
	if s.Query == "" {
		s.Query = matchAll
	}
	if err := s.validate(); err != nil {
		return settings{}, err
	}
	return s, nil
}

// normalise trims names, writes IDs in lower case and leaves out what was named before.
func normalise(names []string) []string {
	var out []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if lower := strings.ToLower(name); uuid.MatchString(lower) {
			name = lower
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
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
	s.validateKeys(bad)
	for key, names := range map[string][]string{"logs": s.Logs, "logsets": s.Logsets} {
		if slices.Contains(names, "") {
			bad(key, "holds an empty name")
		}
	}
	if word := calculation(s.Query); word != "" {
		bad("query", "%s(...) is a calculation, whose answer is a statistic and not events: keep only where(...)", word)
	}
	if len(s.Query) > maxQuery {
		bad("query", "is longer than %d bytes", maxQuery)
	}
	if s.ToBound != "exclusive" && s.ToBound != "inclusive" {
		bad("to_bound", "%q: want exclusive or inclusive", s.ToBound)
	}
	if err := s.Settings.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *settings) validateKeys(bad func(key, format string, args ...any)) {
	if s.APIKey == "" {
		bad("api_key", "is empty")
	}
	unfit := func(r rune) bool { return r <= ' ' || r > '~' }
	for _, k := range []struct{ name, value string }{
		{"api_key", s.APIKey}, {"owner_key", s.OwnerKey}, {"owner_key_id", s.OwnerKeyID},
	} {
		if strings.ContainsFunc(k.value, unfit) {
			bad(k.name, "holds a character that no key has (white space, a line break or non-ASCII)")
		}
	}
	given := []string{s.OwnerKey, s.OwnerKeyID, s.AccountID}
	if slices.Contains(given, "") && (s.OwnerKey != "" || s.OwnerKeyID != "" || s.AccountID != "") {
		bad("owner_key", "owner_key, owner_key_id and account_id go together: one of them is missing")
	}
	if s.AccountID != "" && !pathID.MatchString(s.AccountID) {
		bad("account_id", "%q is not an account's resource ID", s.AccountID)
	}
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
