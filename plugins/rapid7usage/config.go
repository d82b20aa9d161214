package rapid7usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
)

// configSchema describes the settings.
const configSchema = `{
"$schema": "https://json-schema.org/draft/2020-12/schema",
"title": "rapid7-usage",
"description": "Rapid7 Log Search: how many bytes each log received on each day.",
"type": "object",
"additionalProperties": false,
"required": ["api_key"],
"anyOf": [{"required": ["region"]}, {"required": ["base_url"]}],
"properties": {
` + rapid7.RegionSchema + `,
"api_key": {"type": "string", "minLength": 1, "x-sluice-secret": true,
  "description": "API key; the vendor's document asks for one with read/write privileges."},
"form": {"enum": ["logs", "organization", "log", "account"], "default": "logs", "x-sluice-selection": true,
  "description": "What is asked for: each log of the organisation in one request (logs), the organisation's total (organization), each of the named logs by itself (log), or the total of an account on the legacy host (account)."},
"logs": {"type": "array", "minItems": 1, "x-sluice-selection": true,
  "items": {"type": "string", "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$",
    "description": "A log's ID, such as aee00b66-a543-43dc-b093-53963c2e8f41, which discover lists with the name of each."},
  "description": "IDs of logs: with form logs only their figures are kept, with form log they are asked for. All logs when left out."},
"account_id": {"type": "string", "pattern": "^[0-9A-Za-z-]+$", "x-sluice-selection": true,
  "description": "The account's resource ID, for form account."},
"time_range": {"type": "string", "pattern": "^([A-Za-z]+|[A-Za-z]+ ?[0-9]+ ?[A-Za-z]+)$", "examples": ["Last7Days", "Last3Days"],
  "description": "Sent as it is, with interval=day, in place of from and to: for an account that takes no dates. A day that the answer isn't about is asked for by its date."},
"settle": {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$", "default": "24h",
  "description": "How long after its end a day is left alone, beside the pipeline's lag: figures may still grow for a day."},
"log_names": {"type": "boolean", "default": true,
  "description": "Look up the names of logs, which costs a management request an hour at most."},
"to_bound": {"enum": ["exclusive", "inclusive"], "default": "exclusive",
  "description": "Whether the vendor's 'to' leaves out or includes its own day, which isn't documented. It changes nothing: a day is asked for by itself, and figures of other days are left out."},
"time": {"type": ["string", "object"], "default": "none", "examples": ["none"],
  "description": "Only none: figures have a day, and no text that a time could be read from."},` + rest.SettingsSchema + `
}}`

// maxSettle is far beyond what the vendor keeps.
const maxSettle = 30 * 24 * time.Hour

// settings are the source's config.
type settings struct {
	Region    string           `json:"region"`
	APIKey    string           `json:"api_key"`
	Form      rapid7.UsageForm `json:"form"`
	Logs      []string         `json:"logs"`
	AccountID string           `json:"account_id"`
	TimeRange string           `json:"time_range"`
	Settle    rest.Duration    `json:"settle"`
	LogNames  bool             `json:"log_names"`
	ToBound   string           `json:"to_bound"`
	Time      json.RawMessage  `json:"time"`
	rest.Settings

	place rapid7.Place
}

var (
	uuid      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	accountID = regexp.MustCompile(`^[0-9A-Za-z-]+$`)
	timeRange = regexp.MustCompile(`^([A-Za-z]+|[A-Za-z]+ ?[0-9]+ ?[A-Za-z]+)$`)
)

// parseSettings reads the config and fills in what was left out. The error lists everything that is wrong, each with its
// key, and never a secret's value.
func parseSettings(raw json.RawMessage) (settings, error) {
	s := settings{Form: rapid7.UsageLogs, Settle: rest.Duration(rapid7.UsageSettle), LogNames: true, ToBound: "exclusive"}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return settings{}, fmt.Errorf("settings: %w", err)
	}
	for _, text := range []*string{&s.APIKey, &s.AccountID, &s.TimeRange} {
		*text = strings.TrimSpace(*text)
	}
	s.place = rapid7.NewPlace(s.Region, s.BaseURL)
	s.Logs = normalise(s.Logs)
	if err := s.validate(); err != nil {
		return settings{}, err
	}
	return s, nil
}

// normalise writes IDs in lower case and leaves out what was named before.
func normalise(ids []string) []string {
	var out []string
	for _, id := range ids {
		if id = strings.ToLower(strings.TrimSpace(id)); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func (s *settings) validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	for _, err := range []error{s.place.Validate(), rapid7.CheckKey("api_key", s.APIKey)} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for i, id := range s.Logs {
		if !uuid.MatchString(id) {
			bad(fmt.Sprintf("logs[%d]", i), "%q is not a log ID: want a UUID such as aee00b66-a543-43dc-b093-53963c2e8f41", id)
		}
	}
	switch s.Form {
	case rapid7.UsageLogs:
	case rapid7.UsageLog:
		if len(s.Logs) == 0 {
			bad("logs", "is missing: form log asks for the logs that are named; form logs for all")
		}
	case rapid7.UsageOrganization, rapid7.UsageAccount:
		if len(s.Logs) > 0 {
			bad("logs", "form %s tells one total and no logs: leave logs out", s.Form)
		}
	default:
		bad("form", "%q: want one of %v", s.Form, rapid7.UsageForms)
	}
	if isAccount := s.Form == rapid7.UsageAccount; isAccount != (s.AccountID != "") {
		bad("account_id", "goes with form account, and form account with it")
	}
	if s.AccountID != "" && !accountID.MatchString(s.AccountID) {
		bad("account_id", "%q is not an account's resource ID", s.AccountID)
	}
	if s.TimeRange != "" && !timeRange.MatchString(s.TimeRange) {
		bad("time_range", "%q: want one such as Last7Days", s.TimeRange)
	}
	if d := time.Duration(s.Settle); d < 0 || d > maxSettle {
		bad("settle", "%s isn't between 0 and 30 days", d)
	}
	if s.ToBound != "exclusive" && s.ToBound != "inclusive" {
		bad("to_bound", "%q: want exclusive or inclusive", s.ToBound)
	}
	if none := string(s.Time); none != "" && none != `"none"` {
		bad("time", "figures have a day, and no text that a time could be read from: want none, or leave it out")
	}
	if err := s.Settings.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
