package rapid7download

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

// The vendor's documented limits of one download.
const (
	documentedLimit = 20_000_000  // records
	maxLimit        = 500_000_000 // what another of the vendor's documents says
)

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
` + rapid7.RegionSchema + `,
"api_key": {"type": "string", "minLength": 1, "x-sluice-secret": true,
  "description": "API key; the vendor's document asks for one with read/write privileges."},
"logs": {"type": "array", "minItems": 1,
  "items": {"type": "string", "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$",
    "description": "A log's ID, such as aee00b66-a543-43dc-b093-53963c2e8f41, which discover lists with the name of each."},
  "description": "IDs of the logs, any number of them; each is a partition and is downloaded by itself."},
"query": {"type": "string", "minLength": 1, "x-sluice-selection": true,
  "description": "LEQL that keeps the records it matches, such as where(status>=500). All records when left out. No calculations."},
"limit": {"type": "integer", "minimum": 1, "maximum": 500000000, "default": 20000000,
  "description": "The vendor's cap on the records of one download: never a sample, a download that reaches it, or 20 million, is cut smaller."},
"gzip": {"type": "boolean", "default": false, "description": "Ask the vendor to compress. The budget counts bytes as they travel."},
"to_bound": {"enum": ["exclusive", "inclusive"], "default": "exclusive",
  "description": "Whether the vendor's 'to' leaves out or includes its own millisecond, which isn't documented. Guessed wrongly, 'exclusive' doubles records on a seam and 'inclusive' loses them."},` + logtime.Schema + "," + rest.SettingsSchema + `
}}`

// settings are the source's config.
type settings struct {
	Region  string           `json:"region"`
	APIKey  string           `json:"api_key"`
	Logs    []string         `json:"logs"`
	Query   string           `json:"query"`
	Limit   uint64           `json:"limit"`
	Gzip    bool             `json:"gzip"`
	ToBound string           `json:"to_bound"`
	Time    logtime.Settings `json:"time"`
	rest.Settings

	place     rapid7.Place
	inclusive bool     // from ToBound
	doubled   []string // logs that were given twice
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// parseSettings reads the config and fills in what was left out. The error lists everything that is wrong, each with its
// key, and never a secret's value.
func parseSettings(raw json.RawMessage) (settings, error) {
	s := settings{Limit: documentedLimit, ToBound: "exclusive"}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return settings{}, fmt.Errorf("settings: %w", err)
	}
	s.place = rapid7.NewPlace(s.Region, s.BaseURL)
	s.APIKey = strings.TrimSpace(s.APIKey)
	s.inclusive = s.ToBound == "inclusive"
	s.normaliseLogs()
	if s.Query = strings.TrimSpace(s.Query); s.Query == "" {
		s.Query = rapid7.MatchAll
	}
	if err := s.validate(); err != nil {
		return settings{}, err
	}
	return s, nil
}

// most is how many lines show that an answer may have been cut: by our limit, or by the documented one that a higher one of ours may not
// have lifted. A record with a line break in it arrives as two lines, so that no larger number proves that it did.
func (s *settings) most() uint64 { return min(s.Limit, documentedLimit) }

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
	for _, err := range []error{s.place.Validate(), rapid7.CheckKey("api_key", s.APIKey), s.Time.Validate()} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(s.Logs) == 0 {
		bad("logs", "is empty: want the IDs of the logs to download")
	}
	for i, id := range s.Logs {
		if !uuid.MatchString(id) {
			bad(fmt.Sprintf("logs[%d]", i), "%q is not a log ID: want a UUID such as aee00b66-a543-43dc-b093-53963c2e8f41", id)
		}
	}
	if word := rapid7.Calculation(s.Query); word != "" {
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
	return errors.Join(errs...)
}
