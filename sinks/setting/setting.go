// Package setting reads what sinks have in common in their settings: sizes and durations as the config file writes them, and
// strict decoding. What is wrong is said with the key's name; the kind of every error is fault.Config.
package setting

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
)

// Decode decodes one JSON object into v, which holds the defaults. A key that v doesn't know is an error. sink names the type
// in messages.
func Decode(sink string, settings json.RawMessage, v any) error {
	if len(bytes.TrimSpace(settings)) == 0 {
		settings = json.RawMessage("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(settings))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return Wrong(sink, err)
	}
	return nil
}

// Wrong returns err as an error of a sink's settings.
func Wrong(sink string, err error) error {
	return fault.New(fault.Config, "read the "+sink+" sink's settings", "", err)
}

// Secret is a text that doesn't print.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "***" }

// Check returns the errors of a sink's settings as one, nil without any.
func Check(sink string, errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return Wrong(sink, err)
	}
	return nil
}

// OneOf is an error that names the key unless its value is one of all.
func OneOf[T ~string](key string, value T, all ...T) error {
	if slices.Contains(all, value) {
		return nil
	}
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return fmt.Errorf("%s: %q isn't one of %s", key, value, strings.Join(names, ", "))
}

// SizePattern is what JSON Schemas say of a Size that is written as a text.
const SizePattern = `^[0-9]+(\\.[0-9]+)? ?([KMGT]i?B|B)?$`

// Size is a number of bytes: in JSON a number, or a text with a unit. KB=1000, KiB=1024.
type Size int64

// UnmarshalJSON implements json.Unmarshaler.
func (z *Size) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		var n int64
		if err := json.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("%s isn't a size: write it as 256MiB", b)
		}
		*z = Size(n)
		return nil
	}
	n, err := ParseSize(text)
	*z = n
	return err
}

var sizeUnits = map[string]float64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// ParseSize reads a size such as 256MiB.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "KMGTiB ")
	factor, known := sizeUnits[strings.TrimSpace(text[len(digits):])]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !known || n < 0 || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q isn't a size: write it as 256MiB or 500MB", text)
	}
	return Size(n * factor), nil
}

// DurationPattern is what JSON Schemas say of a Duration.
const DurationPattern = `^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$`

// Duration is a time span: in JSON a text such as "90s" with the units ms, s, m, h, d and w.
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

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("%s isn't a duration: write it as 30s", b)
	}
	v, err := ParseDuration(text)
	*d = Duration(v)
	return err
}

// ParseDuration reads a duration such as 90s, 1h30m or 7d.
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q isn't a duration: write it as 90s, 5m or 7d", text)
	if text == "" {
		return 0, wrong
	}
	var sum float64
	for rest := text; rest != ""; {
		end := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if end <= 0 {
			return 0, wrong
		}
		n, err := strconv.ParseFloat(rest[:end], 64)
		if err != nil {
			return 0, wrong
		}
		rest = rest[end:]
		matched := false
		for _, u := range durationUnits {
			// "m" must not take the m of "ms", which stands first.
			if strings.HasPrefix(rest, u.name) {
				sum += n * float64(u.unit)
				rest, matched = rest[len(u.name):], true
				break
			}
		}
		if !matched || sum > math.MaxInt64/2 {
			return 0, wrong
		}
	}
	return time.Duration(sum), nil
}
