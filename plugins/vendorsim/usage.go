package vendorsim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultUsage is the documented limit of usage requests per window.
const DefaultUsage = 500

// DefaultUsageDays is how many days back figures of logs are told, today's included.
const DefaultUsageDays = 7

// What a usage request about a day beyond the look-back is answered with.
const (
	UsageClamp    = "clamp"     // the default: what there is, and a period that begins where it begins
	UsageEmpty    = "empty"     // nothing, and the period that was asked for
	UsageNotFound = "not_found" // 404 with "data not found"
	UsageRefuse   = "refuse"    // 400
)

// UsageOptions says how figures are told, where the vendor's documents leave it open.
type UsageOptions struct {
	Budget      Budget        // zero fields: 500 requests per 15 minutes; Bytes isn't used
	Days        int           // look-back of figures of logs, today included; 0: 7. Totals have none
	Beyond      string        // UsageClamp (the default), UsageEmpty, UsageNotFound or UsageRefuse
	Lag         time.Duration // a record counts only once it is this old: figures of the last day still grow
	Quoted      bool          // figures as texts: "8267539"
	Descending  bool          // newest day first, largest figure first
	Single      bool          // daily_usage of one day is an object and no list
	ExclusiveTo bool          // `to` itself isn't told
	Interval    bool          // figures of all logs aren't told without interval=day
	NoPeriod    bool          // answers don't say what they are about
	Overhead    int64         // bytes that count for each record beside its line and line feed
}

func (o *UsageOptions) setDefaults() {
	o.Budget.setDefaults(DefaultUsage, 1<<62)
	if o.Days == 0 {
		o.Days = DefaultUsageDays
	}
	if o.Beyond == "" {
		o.Beyond = UsageClamp
	}
}

func (o *UsageOptions) validate(bad func(field, format string, args ...any)) {
	if o.Budget.Requests < 0 || o.Budget.Window < 0 || o.Days < 0 || o.Lag < 0 || o.Overhead < 0 {
		bad("Usage", "requests, window, days, lag and overhead must not be negative")
	}
	if !slices.Contains([]string{UsageClamp, UsageEmpty, UsageNotFound, UsageRefuse}, o.Beyond) {
		bad("Usage.Beyond", "want clamp, empty, not_found or refuse, got %q", o.Beyond)
	}
}

const (
	usageSpace    = "/usage"
	usageOrg      = usageSpace + "/organizations"
	usageLogs     = usageOrg + "/logs"
	usageAccounts = usageSpace + "/accounts/"
)

func isUsage(path string) bool { return strings.HasPrefix(path, usageSpace+"/") }

// DayBytes returns what the usage API tells of a log and a UTC day by the vendor's clock: the bytes of its lines with their
// line feeds, and the overhead of each.
func (s *Sim) DayBytes(id string, day time.Time) int64 {
	day = day.UTC().Truncate(24 * time.Hour)
	end := day.Add(24 * time.Hour)
	if settled := s.clock.Now().Add(-s.opts.Usage.Lag); settled.Before(end) {
		end = settled
	}
	if !end.After(day) {
		return 0
	}
	c := s.log(id)
	if c == nil {
		return 0
	}
	c = s.indexed(c, day.UnixMilli(), end.UnixMilli(), s.clock.Now().Add(-s.opts.Usage.Lag))
	lo, hi := c.span(day.UnixMilli(), end.UnixMilli())
	return c.size(lo, hi) + (hi-lo)*s.opts.Usage.Overhead
}

// usage answers GET /usage/organizations[/logs[/{id}]] and /usage/accounts/{id}[/logs/{id}].
func (c *call) usage() {
	s := c.sim
	path := strings.TrimSuffix(c.path, "/")
	if c.r.Method != http.MethodGet {
		s.fail(c.w, c.x, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
		return
	}
	if rest, ok := strings.CutPrefix(path, usageAccounts); ok {
		account, inner, _ := strings.Cut(rest, "/")
		if s.opts.Owner.Account == "" || !strings.EqualFold(account, s.opts.Owner.Account) {
			s.fail(c.w, c.x, http.StatusNotFound, "data not found")
			return
		}
		path = usageOrg
		if inner != "" {
			path += "/" + inner
		}
	}
	from, to, ok := c.usagePeriod()
	if !ok {
		return
	}
	switch {
	case path == usageOrg:
		c.organisationUsage(from, to)
	case path == usageLogs && s.opts.Usage.Interval && !c.r.URL.Query().Has("interval"):
		s.fail(c.w, c.x, http.StatusBadRequest, "interval is missing")
	case path == usageLogs, strings.HasPrefix(path, usageLogs+"/"):
		if from, ok = c.lookBack(from); ok {
			if to.Before(from) {
				to = from
			}
			if path == usageLogs {
				c.logsUsage(from, to)
			} else {
				c.logUsage(strings.TrimPrefix(path, usageLogs+"/"), from, to)
			}
		}
	default:
		s.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
	}
}

var lastDays = regexp.MustCompile(`(?i)^last ?([0-9]{1,3}) ?days?$`)

// usagePeriod reads which days are asked for, both told; it answers the request if that can't be read.
func (c *call) usagePeriod() (from, to time.Time, ok bool) {
	q := c.r.URL.Query()
	today := c.sim.clock.Now().UTC().Truncate(24 * time.Hour)
	refuse := func(why string) (time.Time, time.Time, bool) {
		c.sim.fail(c.w, c.x, http.StatusBadRequest, why)
		return time.Time{}, time.Time{}, false
	}
	if interval := q.Get("interval"); interval != "" && !strings.EqualFold(interval, "day") {
		return refuse("interval must be day")
	}
	relative := q.Get("time_range")
	switch {
	case relative != "" && (q.Has("from") || q.Has("to")):
		return refuse("time_range and from, to exclude each other")
	case strings.EqualFold(relative, "yesterday"):
		return today.AddDate(0, 0, -1), today.AddDate(0, 0, -1), true
	case strings.EqualFold(relative, "today"):
		return today, today, true
	case relative != "":
		m := lastDays.FindStringSubmatch(relative)
		if m == nil {
			return refuse("time_range can't be read")
		}
		n, _ := strconv.Atoi(m[1]) // digits by the pattern
		return today.AddDate(0, 0, 1-n), today, true
	case !q.Has("from") && !q.Has("to"):
		return today.AddDate(0, 0, -9), today, true
	}
	from, e1 := time.Parse(time.DateOnly, q.Get("from"))
	to, e2 := time.Parse(time.DateOnly, q.Get("to"))
	if e1 != nil || e2 != nil || to.Before(from) {
		return refuse("from and to must be dates, in order")
	}
	if c.sim.opts.Usage.ExclusiveTo && to.After(from) {
		to = to.AddDate(0, 0, -1)
	}
	return from, to, true
}

// lookBack cuts off the days that aren't told any more; false if it answered the request.
func (c *call) lookBack(from time.Time) (time.Time, bool) {
	oldest := c.sim.clock.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-c.sim.opts.Usage.Days)
	if !from.Before(oldest) {
		return from, true
	}
	switch c.sim.opts.Usage.Beyond {
	case UsageNotFound:
		c.sim.fail(c.w, c.x, http.StatusNotFound, "data not found")
		return from, false
	case UsageRefuse:
		c.sim.fail(c.w, c.x, http.StatusBadRequest, "from must be within the last "+strconv.Itoa(c.sim.opts.Usage.Days)+" days")
		return from, false
	case UsageEmpty:
		return from, true // told leaves them out
	}
	return oldest, true
}

func (c *call) told(day time.Time) bool {
	return !day.Before(c.sim.clock.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-c.sim.opts.Usage.Days))
}

func (c *call) days(from, to time.Time) []time.Time {
	var out []time.Time
	for d := from; !d.After(to) && len(out) < 4000; d = d.AddDate(0, 0, 1) {
		out = append(out, d)
	}
	if c.sim.opts.Usage.Descending {
		slices.Reverse(out)
	}
	return out
}

// figure writes a number as the options say.
func (c *call) figure(n int64) json.RawMessage {
	text := strconv.FormatInt(n, 10)
	if c.sim.opts.Usage.Quoted {
		text = `"` + text + `"`
	}
	return json.RawMessage(text)
}

type usageOfDay struct {
	Usage json.RawMessage `json:"usage"`
	Day   string          `json:"day"`
}

// daily writes the figures of days that aren't without data.
func (c *call) daily(days []usageOfDay) any {
	if len(days) == 1 && c.sim.opts.Usage.Single {
		return days[0]
	}
	if days == nil {
		days = []usageOfDay{}
	}
	return days
}

func (c *call) period(answer map[string]any, from, to time.Time) map[string]any {
	if !c.sim.opts.Usage.NoPeriod {
		answer["period"] = map[string]string{"from": from.Format(time.DateOnly), "to": to.Format(time.DateOnly)}
	}
	return answer
}

// figures answers with JSON, which faults may damage.
func (c *call) figures(answer map[string]any) {
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // our own types always encode
	}
	c.w.Header().Set("Content-Type", jsonType)
	c.stream(func(yield func([]byte) bool) { yield(body) })
}

func (c *call) organisationUsage(from, to time.Time) {
	var days []usageOfDay
	var all int64
	for _, d := range c.days(from, to) {
		var sum int64
		for _, id := range c.sim.LogIDs() {
			sum += c.sim.DayBytes(id, d)
		}
		if sum > 0 {
			days = append(days, usageOfDay{c.figure(sum), d.Format(time.DateOnly)})
		}
		all += sum
	}
	c.figures(c.period(map[string]any{
		"daily_usage": c.daily(days), "period_usage": c.figure(all), "id": "5ca1ab1e-0000-4000-8000-00000000000a", "name": "Simulated",
	}, from, to))
}

func (c *call) logsUsage(from, to time.Time) {
	type logFigure struct {
		Usage json.RawMessage `json:"usage"`
		ID    string          `json:"id"`
		n     int64
	}
	intervals := []map[string]any{}
	for _, d := range c.days(from, to) {
		var logs []logFigure
		for _, id := range c.sim.LogIDs() {
			if n := c.sim.DayBytes(id, d); n > 0 && c.told(d) {
				logs = append(logs, logFigure{c.figure(n), id, n})
			}
		}
		slices.SortStableFunc(logs, func(a, b logFigure) int { return int(a.n - b.n) })
		if c.sim.opts.Usage.Descending {
			slices.Reverse(logs)
		}
		if len(logs) > 0 {
			intervals = append(intervals, map[string]any{"interval": d.Format(time.DateOnly), "log_usage": logs})
		}
	}
	c.figures(map[string]any{"per_day_usage": c.period(map[string]any{
		"usage": intervals, "usage_units": "bytes", "report_interval": "day",
	}, from, to)})
}

func (c *call) logUsage(id string, from, to time.Time) {
	l := c.sim.log(id)
	if l == nil {
		c.sim.fail(c.w, c.x, http.StatusNotFound, "data not found")
		return
	}
	var days []usageOfDay
	for _, d := range c.days(from, to) {
		if n := c.sim.DayBytes(l.ID, d); n > 0 && c.told(d) {
			days = append(days, usageOfDay{c.figure(n), d.Format(time.DateOnly)})
		}
	}
	c.figures(map[string]any{"usage": c.period(map[string]any{"daily_usage": c.daily(days), "id": l.ID}, from, to)})
}
