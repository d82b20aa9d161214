package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/plugins"
)

// Settings are the config keys that every source over HTTP has. SettingsSchema describes them.
type Settings struct {
	Account string         `json:"account"`
	BaseURL string         `json:"base_url"`
	Budget  BudgetSettings `json:"budget"`
	HTTP    HTTPSettings   `json:"http"`
}

// BudgetSettings replace the vendor's documented limits; what is zero stays as documented.
type BudgetSettings struct {
	Requests uint64   `json:"requests"`
	Bytes    Size     `json:"bytes"`
	Window   Duration `json:"window"`
	Share    float64  `json:"share"`
}

// HTTPSettings say how the vendor is reached; what is empty is the host's.
type HTTPSettings struct {
	Proxy   string   `json:"proxy"`
	CAFile  string   `json:"ca_file"`
	Timeout Duration `json:"timeout"`
}

// DefaultShare of a vendor's limit leaves the rest to other users of the key.
const DefaultShare = 0.9

// SettingsSchema is the text of the JSON Schema properties of Settings, to be put between the braces of a source's own
// properties.
const SettingsSchema = `
"account": {"type": "string", "minLength": 1, "x-sluice-selection": true,
  "description": "A label that keeps the data of two accounts apart when all other settings are the same."},
"base_url": {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/@?#]+(/[^?#]*)?$",
  "description": "The API's address instead of the documented one: scheme, host and perhaps a path."},
"budget": {"type": "object", "additionalProperties": false,
  "description": "What may be asked of the vendor per key; the documented limits by default. It is about what the source mainly asks for; the limits of others, such as of lists of logs, stay as documented.",
  "properties": {
    "requests": {"type": "integer", "minimum": 1, "description": "Requests in a window."},
    "bytes": {"type": ["integer", "string"], "minimum": 1, "pattern": "^[0-9]+(\\.[0-9]+)? ?([KMGTP]i?)?B?$", "description": "Bytes in a window, such as 75GB."},
    "window": {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$", "description": "The window, such as 15m; at most 31d."},
    "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.9,
      "description": "How much of the limits to use; the rest is left to others with the same key."}}},
"http": {"type": "object", "additionalProperties": false,
  "description": "How the vendor is reached; the host's settings by default.",
  "properties": {
    "proxy": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "URL of an http, https or socks5 proxy."},
    "ca_file": {"type": "string", "minLength": 1, "description": "PEM file with certificates to trust beside the system's."},
    "timeout": {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$", "default": "60s",
      "description": "Longest silence of the vendor before an answer is given up."}}}`

// MaxWindow is the longest window that the host keeps a count for.
const MaxWindow = Duration(31 * 24 * time.Hour)

// Validate returns everything that is wrong, each with its key.
func (s Settings) Validate() error {
	var errs []error
	if b := s.Budget; b.Share < 0 || b.Share > 1 {
		errs = append(errs, fmt.Errorf("budget.share: %v isn't in (0, 1]", b.Share))
	}
	if s.Budget.Window > MaxWindow {
		errs = append(errs, fmt.Errorf("budget.window: %s is more than 31d", time.Duration(s.Budget.Window)))
	}
	if s.Budget.Window < 0 || s.HTTP.Timeout < 0 {
		errs = append(errs, errors.New("budget.window, http.timeout: must not be negative"))
	}
	if _, err := parseProxy(s.HTTP.Proxy); err != nil {
		errs = append(errs, fmt.Errorf("http.proxy: %w", err))
	}
	return errors.Join(errs...)
}

// Limit returns the documented limit with what the settings replace.
func (s Settings) Limit(documented plugins.Limit) plugins.Limit {
	if s.Budget.Requests > 0 {
		documented.Requests = s.Budget.Requests
	}
	if s.Budget.Bytes > 0 {
		documented.Bytes = uint64(s.Budget.Bytes)
	}
	if s.Budget.Window > 0 {
		documented.Window = time.Duration(s.Budget.Window)
	}
	return documented
}

// Options returns the client options that the settings and the host's hand-over decide: everything but BaseURL, Header and
// secrets. It reads http.ca_file.
func (s Settings) Options(cfg plugins.Config) (Options, error) {
	o := Options{
		HTTP: cfg.HTTP, Stall: time.Duration(s.HTTP.Timeout), Budget: cfg.Budget, Share: s.Budget.Share, Log: cfg.Log,
	}
	if o.Share == 0 {
		o.Share = DefaultShare
	}
	if s.HTTP.Proxy != "" {
		o.HTTP.Proxy = s.HTTP.Proxy
	}
	if s.HTTP.CAFile != "" {
		pem, err := os.ReadFile(s.HTTP.CAFile)
		if err != nil {
			return Options{}, fmt.Errorf("http.ca_file: %w", err)
		}
		// One new slice: the host's belongs to all sources of this process.
		o.HTTP.CAPEM = append(append([]byte(nil), cfg.HTTP.CAPEM...), append([]byte("\n"), pem...)...)
	}
	return o, nil
}

// Duration is a duration in JSON: a text of numbers with the units ms, s, m, h, d and w.
type Duration time.Duration

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"ms", time.Millisecond},
	{"s", time.Second},
	{"m", time.Minute},
	{"h", time.Hour},
	{"d", 24 * time.Hour},
	{"w", 7 * 24 * time.Hour},
}

// ParseDuration reads a text such as "15m" or "1d12h".
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no duration: want a number and one of ms, s, m, h, d, w", text)
	if text == "" {
		return 0, wrong
	}
	total := 0.0
	for rest := text; rest != ""; {
		digits := strings.TrimLeft(rest, "0123456789.")
		n, err := strconv.ParseFloat(rest[:len(rest)-len(digits)], 64)
		if err != nil {
			return 0, wrong
		}
		unit := digits[:len(digits)-len(strings.TrimLeft(digits, "abcdefghijklmnopqrstuvwxyz"))]
		known := false
		for _, u := range durationUnits {
			if u.name == unit {
				total += n * float64(u.unit)
				known = true
			}
		}
		if !known || total > math.MaxInt64/2 {
			return 0, wrong
		}
		rest = digits[len(unit):]
	}
	return time.Duration(total), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is no duration: want a text such as \"15m\"", data)
	}
	v, err := ParseDuration(text)
	*d = Duration(v)
	return err
}

// Size is a number of bytes in JSON: a number, or a text such as "75GB" (KB = 1000, KiB = 1024).
type Size uint64

// ParseSize reads a text such as "75GB", "64MiB" or "1000".
func ParseSize(text string) (uint64, error) {
	wrong := fmt.Errorf("%q is no size: want a number and perhaps one of B, KB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB", text)
	unit := strings.TrimLeft(text, "0123456789.")
	n, err := strconv.ParseFloat(text[:len(text)-len(unit)], 64)
	if err != nil {
		return 0, wrong
	}
	prefix := strings.TrimSuffix(strings.TrimPrefix(unit, " "), "B")
	base := 1000.0
	if p, ok := strings.CutSuffix(prefix, "i"); ok {
		base, prefix = 1024, p
		if prefix == "" {
			return 0, wrong
		}
	}
	power := 0
	if prefix != "" {
		if power = strings.Index(" KMGTP", prefix); len(prefix) > 1 || power < 1 {
			return 0, wrong
		}
	}
	if n *= math.Pow(base, float64(power)); n >= math.MaxInt64 {
		return 0, wrong
	}
	return uint64(n), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		text = string(data)
	}
	n, err := ParseSize(text)
	*s = Size(n)
	return err
}
