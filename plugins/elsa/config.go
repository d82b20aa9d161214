package elsa

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/rest"
)

// The vendor's documented bounds, and where the vendor lives.
const (
	documentedURL   = "https://elsa.apigw.ntruss.com"
	maxProjectKey   = 53      // characters
	maxLimit        = 1000    // of `limit`, and what is sent by default: the documented default is 100
	maxCount        = 200_000 // of `count`, and what is sent by default
	documentedCount = 100_000 // what the vendor takes when it knows of no count
	maxFields       = 1000
	maxFieldName    = 256 // bytes
)

// Formats of a download.
const (
	formatJSON = "JSON"
	formatCSV  = "CSV"
)

// downloadLimit names the budget. The vendor documents no figures: nothing is limited unless the settings say so.
var downloadLimit = plugins.Limit{Namespace: "download", Window: time.Minute}

const configSchema = `{
"$schema": "https://json-schema.org/draft/2020-12/schema",
"title": "elsa",
"description": "NAVER Cloud ELSA (Effective Log Search & Analytics): downloads the logs of projects.",
"type": "object",
"additionalProperties": false,
"required": ["access_key", "secret_key"],
"oneOf": [{"required": ["project_key", "project_id"], "not": {"required": ["projects"]}},
  {"required": ["projects"], "not": {"anyOf": [{"required": ["project_key"]}, {"required": ["project_id"]}]}}],
"properties": {
"access_key": {"type": "string", "minLength": 1,
  "description": "Access key ID of a main or sub account."},
"secret_key": {"type": "string", "minLength": 1, "x-sluice-secret": true,
  "description": "The access key's secret. It signs requests and is never sent."},
"project_key": {"type": "string", "minLength": 1, "maxLength": 53,
  "description": "Key of the project, such as Pbxxxxx_elsa-test; with project_id, for a single project."},
"project_id": {"type": "integer", "minimum": 1, "maximum": 9007199254740991,
  "description": "ID of the project, a number such as 8171."},
"projects": {"type": "array", "minItems": 1,
  "items": {"type": "object", "additionalProperties": false, "required": ["key", "id"], "properties": {
    "key": {"type": "string", "minLength": 1, "maxLength": 53, "description": "Key of a project."},
    "id": {"type": "integer", "minimum": 1, "maximum": 9007199254740991, "description": "ID of the same project."}}},
  "description": "Several projects, instead of project_key and project_id; each is a partition."},
"format": {"enum": ["JSON", "CSV"], "default": "JSON",
  "description": "Form in which the vendor sends records. CSV can't tell a number from its text."},
"limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000,
  "description": "The vendor's 'limit', which its document doesn't explain beside 'count'; never a sample."},
"count": {"type": "integer", "minimum": 1, "maximum": 200000, "default": 200000,
  "description": "The vendor's cap on the records of one download: never a sample, a download that reaches it is cut smaller."},
"include_fields": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}, "x-sluice-selection": true,
  "description": "Names of the fields to download, all when left out. logTime is always asked for."},
"to_bound": {"enum": ["exclusive", "inclusive"], "default": "exclusive",
  "description": "Whether the vendor's 'to' leaves out or includes its own millisecond, which isn't documented. Guessed wrongly, 'exclusive' doubles records on a seam and 'inclusive' loses them."},` + logtime.VendorSchema + "," + rest.SettingsSchema + `
}}`

// project is one project, which is one partition.
type project struct {
	Key string `json:"key"`
	ID  int64  `json:"id"`
}

// settings are the source's config.
type settings struct {
	AccessKey     string           `json:"access_key"`
	SecretKey     string           `json:"secret_key"`
	ProjectKey    string           `json:"project_key"`
	ProjectID     int64            `json:"project_id"`
	Projects      []project        `json:"projects"`
	Format        string           `json:"format"`
	Limit         uint64           `json:"limit"`
	Count         uint64           `json:"count"`
	IncludeFields []string         `json:"include_fields"`
	ToBound       string           `json:"to_bound"`
	Time          logtime.Settings `json:"time"`
	rest.Settings

	inclusive bool     // from ToBound
	doubled   []string // projects and fields that were named twice
}

// parseSettings reads the config and fills in what was left out. The error lists everything that is wrong, each with its
// key, and never a secret's value.
func parseSettings(raw json.RawMessage) (settings, error) {
	s := settings{Format: formatJSON, Limit: maxLimit, Count: maxCount, ToBound: "exclusive"}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return settings{}, fmt.Errorf("settings: %w", err)
	}
	s.AccessKey, s.SecretKey = strings.TrimSpace(s.AccessKey), strings.TrimSpace(s.SecretKey)
	s.BaseURL = strings.TrimSpace(s.BaseURL)
	s.inclusive = s.ToBound == "inclusive"
	both := len(s.Projects) > 0 && (s.ProjectKey != "" || s.ProjectID != 0)
	single := len(s.Projects) == 0
	if single {
		s.Projects = []project{{Key: s.ProjectKey, ID: s.ProjectID}}
	}
	s.normalise()
	if err := s.validate(both, single); err != nil {
		return settings{}, err
	}
	return s, nil
}

// normalise trims names and leaves each only once.
func (s *settings) normalise() {
	var projects []project
	for _, p := range s.Projects {
		p.Key = strings.TrimSpace(p.Key)
		if slices.Contains(projects, p) {
			s.doubled = append(s.doubled, p.Key)
			continue
		}
		projects = append(projects, p)
	}
	s.Projects = projects
	var fields []string
	for _, f := range s.IncludeFields {
		f = strings.TrimSpace(f)
		if slices.Contains(fields, f) {
			s.doubled = append(s.doubled, f)
			continue
		}
		fields = append(fields, f)
	}
	s.IncludeFields = fields
}

func (s *settings) validate(both, single bool) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	for _, k := range []struct{ name, value string }{{"access_key", s.AccessKey}, {"secret_key", s.SecretKey}} {
		if k.value == "" {
			bad(k.name, "is empty")
		} else if strings.ContainsFunc(k.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			bad(k.name, "holds a character that no key has (white space, a line break or non-ASCII)")
		}
	}
	if both {
		bad("projects", "stands beside project_key or project_id: want one or the other")
	}
	keys := map[string]bool{}
	for i, p := range s.Projects {
		keyName, idName := fmt.Sprintf("projects[%d].key", i), fmt.Sprintf("projects[%d].id", i)
		if single {
			keyName, idName = "project_key", "project_id"
		}
		if err := checkProjectKey(p.Key); err != nil {
			bad(keyName, "%w", err)
		}
		if p.ID < 1 || p.ID >= 1<<53 {
			bad(idName, "%d is no project's ID: want the number that the console shows beside the project key", p.ID)
		}
		if keys[p.Key] {
			bad(keyName, "%q has two IDs", p.Key)
		}
		keys[p.Key] = true
	}
	if s.Format != formatJSON && s.Format != formatCSV {
		bad("format", "%q: want JSON or CSV", s.Format)
	}
	if s.Limit < 1 || s.Limit > maxLimit {
		bad("limit", "%d isn't between 1 and %d", s.Limit, maxLimit)
	}
	if s.Count < 1 || s.Count > maxCount {
		bad("count", "%d isn't between 1 and %d", s.Count, maxCount)
	}
	if len(s.IncludeFields) > maxFields {
		bad("include_fields", "names %d fields, want at most %d", len(s.IncludeFields), maxFields)
	}
	for i, f := range s.IncludeFields {
		if err := checkField(f); err != nil {
			bad(fmt.Sprintf("include_fields[%d]", i), "%w", err)
		}
	}
	if s.ToBound != "exclusive" && s.ToBound != "inclusive" {
		bad("to_bound", "%q: want exclusive or inclusive", s.ToBound)
	}
	if _, err := rest.ParseBaseURL(s.baseURL(), true); err != nil {
		bad("base_url", "%w", err)
	}
	if err := s.Time.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := s.Settings.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func checkProjectKey(key string) error {
	switch n := utf8.RuneCountInString(key); {
	case n == 0:
		return errors.New("is empty: want a project's key such as Pbxxxxx_elsa-test")
	case n > maxProjectKey:
		return fmt.Errorf("has %d characters, the vendor takes at most %d", n, maxProjectKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("holds a control character or invalid UTF-8")
	}
	return nil
}

// quotes are what word processors and web pages make of quotation marks: part of no field's name, but easily pasted.
const quotes = "\"'“”‘’„«»`"

func checkField(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case len(name) > maxFieldName:
		return fmt.Errorf("has %d bytes, want at most %d", len(name), maxFieldName)
	case strings.ContainsAny(name, quotes):
		return fmt.Errorf("%q holds a quotation mark: was it pasted from a document?", name)
	case strings.Contains(name, ","):
		return fmt.Errorf("%q holds a comma: want one name an entry", name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%q holds a control character or invalid UTF-8", name)
	}
	return nil
}

func (s *settings) baseURL() string {
	if s.BaseURL != "" {
		return s.BaseURL
	}
	return documentedURL
}

// project returns the project with a key.
func (s *settings) project(key string) (project, bool) {
	for _, p := range s.Projects {
		if p.Key == key {
			return p, true
		}
	}
	return project{}, false
}

// wanted returns the fields to ask for, nil for all. Without logTime there would be no times to sort and cut by.
func (s *settings) wanted() []string {
	if len(s.IncludeFields) == 0 || slices.Contains(s.IncludeFields, fieldLogTime) {
		return s.IncludeFields
	}
	return append(slices.Clone(s.IncludeFields), fieldLogTime)
}

// showsRecords says whether records would travel unencrypted over a network.
func showsRecords(base *url.URL) bool {
	if base.Scheme != "http" {
		return false
	}
	host := base.Hostname()
	addr, err := netip.ParseAddr(host)
	local := err == nil && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
	return !local
}
