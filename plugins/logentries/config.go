package logentries

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/plugins/logtime"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
)

// What the vendor takes. Longer URLs than rapid7.MaxURL go in a body.
const (
	maxQuery   = 64 << 10 // bytes; a guard, not a limit of the vendor's
	maxPerPage = 500      // events of a page
)

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
` + rapid7.RegionSchema + `,
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
  "description": "Whether the vendor's 'to' leaves out or includes its own millisecond, which isn't documented. With 'exclusive' nothing is lost or doubled either way: what lies beyond a slice is left to the next. 'inclusive', if wrong, loses events."},` + logtime.VendorSchema + "," + rest.SettingsSchema + `
}}`

// settings are the source's config.
type settings struct {
	Region     string           `json:"region"`
	APIKey     string           `json:"api_key"`
	OwnerKey   string           `json:"owner_key"`
	OwnerKeyID string           `json:"owner_key_id"`
	AccountID  string           `json:"account_id"`
	Logs       []string         `json:"logs"`
	Logsets    []string         `json:"logsets"`
	Query      string           `json:"query"`
	ToBound    string           `json:"to_bound"`
	Time       logtime.Settings `json:"time"`
	rest.Settings

	inclusive bool // from ToBound
	place     rapid7.Place
}

var (
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
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
	s.place = rapid7.NewPlace(s.Region, s.BaseURL)
	for _, text := range []*string{&s.APIKey, &s.OwnerKey, &s.OwnerKeyID, &s.AccountID, &s.Query} {
		*text = strings.TrimSpace(*text)
	}
	s.inclusive = s.ToBound == "inclusive"
	s.Logs, s.Logsets = normalise(s.Logs), normalise(s.Logsets)
	if s.Query == "" {
		s.Query = rapid7.MatchAll
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
	if err := s.place.Validate(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.validateKeys(bad)...)
	for key, names := range map[string][]string{"logs": s.Logs, "logsets": s.Logsets} {
		if slices.Contains(names, "") {
			bad(key, "holds an empty name")
		}
	}
	if word := rapid7.Calculation(s.Query); word != "" {
		bad("query", "%s(...) is a calculation, whose answer is a statistic and not events: keep only where(...)", word)
	}
	if len(s.Query) > maxQuery {
		bad("query", "is longer than %d bytes", maxQuery)
	}
	if s.ToBound != "exclusive" && s.ToBound != "inclusive" {
		bad("to_bound", "%q: want exclusive or inclusive", s.ToBound)
	}
	if err := s.Time.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := s.Settings.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *settings) validateKeys(bad func(key, format string, args ...any)) (errs []error) {
	for _, k := range []struct {
		name, value string
		needed      bool
	}{
		{"api_key", s.APIKey, true}, {"owner_key", s.OwnerKey, false}, {"owner_key_id", s.OwnerKeyID, false},
	} {
		if err := rapid7.CheckKey(k.name, k.value); err != nil && (k.needed || k.value != "") {
			errs = append(errs, err)
		}
	}
	given := []string{s.OwnerKey, s.OwnerKeyID, s.AccountID}
	if slices.Contains(given, "") && (s.OwnerKey != "" || s.OwnerKeyID != "" || s.AccountID != "") {
		bad("owner_key", "owner_key, owner_key_id and account_id go together: one of them is missing")
	}
	if s.AccountID != "" && !pathID.MatchString(s.AccountID) {
		bad("account_id", "%q is not an account's resource ID", s.AccountID)
	}
	return errs
}
