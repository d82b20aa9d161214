package rapid7

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Figures is what an answer of the usage API holds.
type Figures struct {
	Figures []Figure
	// From and To are the first and the last day that the answer says it is about; zero if it doesn't.
	From, To time.Time
	Nulls    []time.Time // the day of each entry without a figure, which isn't among the figures
}

// Figure is the bytes that a log, or the organisation, received on a UTC day.
type Figure struct {
	Day   time.Time // its midnight
	LogID string    // in lower case; empty: of the whole organisation
	Bytes int64
}

// usageAnswer is an answer of any form. The forms are told apart by what is there.
type usageAnswer struct {
	PerDay *struct {
		Usage    several[usageInterval] `json:"usage"`
		Period   usagePeriod            `json:"period"`
		Units    string                 `json:"usage_units"`
		Interval string                 `json:"report_interval"`
	} `json:"per_day_usage"` // all logs
	Usage *struct {
		ID     string            `json:"id"`
		Daily  several[usageDay] `json:"daily_usage"`
		Period usagePeriod       `json:"period"`
	} `json:"usage"` // one log
	Daily  *several[usageDay] `json:"daily_usage"` // the organisation, or an account
	Period usagePeriod        `json:"period"`
}

type usageInterval struct {
	Day  usageDate         `json:"interval"`
	Logs several[usageLog] `json:"log_usage"`
}

type usageLog struct {
	ID    string      `json:"id"`
	Bytes usageNumber `json:"usage"`
}

type usageDay struct {
	Day   usageDate   `json:"day"`
	Bytes usageNumber `json:"usage"`
}

type usagePeriod struct {
	From usageDate `json:"from"`
	To   usageDate `json:"to"`
}

// DecodeUsage reads an answer of the usage API: of all logs, of one log, or of the organisation (or account). Figures may
// be numbers or texts, days in any order. A day that has two figures for one log is an error, and so is whatever isn't
// bytes a day. So is an answer without its list: only a list without entries says that nothing was received.
func DecodeUsage(body []byte) (Figures, error) {
	var a usageAnswer
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&a); err != nil {
		return Figures{}, fmt.Errorf("the answer isn't the documented JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Figures{}, errors.New("something follows the answer's JSON")
	}
	out := &collected{seen: map[figureKey]bool{}}
	switch {
	case a.PerDay != nil:
		if u := a.PerDay.Units; u != "" && !strings.EqualFold(u, "bytes") {
			return Figures{}, fmt.Errorf("the figures are in %.40q, want bytes", u)
		}
		if i := a.PerDay.Interval; i != "" && !strings.EqualFold(i, "day") {
			return Figures{}, fmt.Errorf("the figures are of each %.40q, want day", i)
		}
		if a.PerDay.Usage == nil {
			return Figures{}, errors.New("the answer's per_day_usage holds no list usage")
		}
		out.period(a.PerDay.Period)
		for _, interval := range a.PerDay.Usage {
			if interval.Logs == nil {
				return Figures{}, errors.New("a day of the answer holds no list log_usage")
			}
			for _, l := range interval.Logs {
				if l.ID == "" {
					return Figures{}, errors.New("a figure of no log")
				}
				out.add(interval.Day, l.ID, l.Bytes)
			}
		}
	case a.Usage != nil:
		if a.Usage.Daily == nil {
			return Figures{}, errors.New("the answer's usage holds no list daily_usage")
		}
		out.period(a.Usage.Period)
		for _, d := range a.Usage.Daily {
			out.add(d.Day, a.Usage.ID, d.Bytes)
		}
	case a.Daily != nil:
		out.period(a.Period)
		for _, d := range *a.Daily {
			out.add(d.Day, "", d.Bytes)
		}
	default:
		return Figures{}, errors.New("the answer holds neither per_day_usage nor usage nor daily_usage")
	}
	return out.Figures, out.err
}

type figureKey struct {
	day time.Time
	log string
}

type collected struct {
	Figures
	seen map[figureKey]bool
	err  error
}

func (c *collected) period(p usagePeriod) {
	c.From, c.To = time.Time(p.From), time.Time(p.To)
	if c.From.IsZero() != c.To.IsZero() || c.To.Before(c.From) {
		c.err = errors.New("the answer's period has one end, or ends before it begins")
	}
}

func (c *collected) add(day usageDate, log string, n usageNumber) {
	at := figureKey{time.Time(day), strings.ToLower(log)}
	switch {
	case c.err != nil:
	case at.day.IsZero():
		c.err = errors.New("a figure of no day")
	case !n.known:
		c.Nulls = append(c.Nulls, at.day)
	case c.seen[at]:
		c.err = fmt.Errorf("two figures of %s for log %.80q", at.day.Format(time.DateOnly), log)
	default:
		c.seen[at] = true
		c.Figures.Figures = append(c.Figures.Figures, Figure{Day: at.day, LogID: at.log, Bytes: n.value})
	}
}

// several is a list, or what would be its one entry: the vendor's documents disagree. Nil: there was none, or null.
type several[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (s *several[T]) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var one T
		if err := json.Unmarshal(data, &one); err != nil {
			return err
		}
		*s = several[T]{one}
		return nil
	}
	return json.Unmarshal(data, (*[]T)(s))
}

// usageNumber is a count in a number or a text; known is false for null and an entry without it.
type usageNumber struct {
	value int64
	known bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *usageNumber) UnmarshalJSON(data []byte) error {
	text := string(data)
	if text == "null" {
		return nil
	}
	if data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	wrong := fmt.Errorf("%.40q isn't a number of bytes", text)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		// 1.2627779E7, as some servers write large numbers: as long as it is exact.
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return wrong
		}
		v = int64(f)
	}
	if v < 0 {
		return wrong
	}
	*n = usageNumber{v, true}
	return nil
}

// usageDate is a UTC day: 2018-12-16, perhaps with its midnight behind it. Zero for null.
type usageDate time.Time

// UnmarshalJSON implements json.Unmarshaler.
func (d *usageDate) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%.40q isn't a day", data)
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		if t, err = time.Parse(time.RFC3339, text); err == nil && !t.Equal(t.UTC().Truncate(24*time.Hour)) {
			err = errors.New("not midnight")
		}
	}
	if err != nil || t.Year() < 1970 || t.Year() > 2999 {
		return fmt.Errorf("%.40q isn't a day: want YYYY-MM-DD", text)
	}
	*d = usageDate(t.UTC())
	return nil
}
