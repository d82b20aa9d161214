package rapid7

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// UsageForm is one of the forms in which the vendor tells the usage.
type UsageForm string

// The forms.
const (
	UsageLogs         UsageForm = "logs"         // each log of the organisation
	UsageOrganization UsageForm = "organization" // one total
	UsageLog          UsageForm = "log"          // each of the named logs, a request for each
	UsageAccount      UsageForm = "account"      // one total, of an account on the legacy host
)

// UsageForms lists the forms.
var UsageForms = []UsageForm{UsageLogs, UsageOrganization, UsageLog, UsageAccount}

// UsageLookBack is how many days back the document promises figures of logs. Other sources say thirty, and of totals that
// there is no end: so older days are asked for too, but an empty answer about one proves nothing.
const UsageLookBack = 7

// UsageSettle is how long after its end the figure of a day may still grow, by the vendor's words.
const UsageSettle = 24 * time.Hour

const (
	day            = 24 * time.Hour
	maxUsageAnswer = 16 << 20 // bytes, some 200,000 figures; a guard, not a limit of the vendor's
)

// Usage reads the stream of UsageStream, a day a slice. Its fields are set before the first call and not changed; its
// methods are safe for concurrent use.
type Usage struct {
	Client    *rest.Client
	Place     Place
	Source    string // the source's name, for the column source
	Form      UsageForm
	Logs      []string // IDs in lower case: of UsageLog the logs to ask for, of UsageLogs those to keep, all if empty
	Account   string   // of UsageAccount
	TimeRange string   // sent in place of from and to, where its answer holds the day; empty: never
	Limit     plugins.Limit
	Names     *LogNames        // joins the logs' names; nil: not
	Mem       memory.Allocator // zeroed
	Now       func() time.Time // this machine's clock
}

// Plan cuts a gap into days.
func (u *Usage) Plan(g flow.Gap) []flow.Slice {
	return plugins.CutGap(g, plugins.SliceTarget{Duration: day}, plugins.CutOptions{Granularity: day, Limit: u.Limit})
}

// reply is what one request gave.
type reply struct {
	Figures
	date time.Time // the vendor's clock
}

// Read reads the figures of a slice, which must be one whole day.
func (u *Usage) Read(ctx context.Context, s flow.Slice, out plugins.Emitter) error {
	if !s.From.Equal(s.Day()) || s.To.Sub(s.From) != day {
		return fault.Errorf(fault.Bug, "read "+s.String(), "usage is told for whole UTC days only")
	}
	var whole reply
	for _, path := range u.paths() {
		r, err := u.day(ctx, path, s.From, out.Waiting)
		if err != nil {
			return err
		}
		whole.add(r, s.From)
	}
	if u.lost(whole, s.From) {
		return fault.New(fault.Unavailable, u.op(), "", fmt.Errorf(
			"the vendor tells nothing of %s, and its document promises figures of the last %d days only: whether any log received data then can't be told",
			s.From.Format(time.DateOnly), UsageLookBack))
	}
	if opener, ok := out.(plugins.Opener); ok {
		if err := opener.Open(ctx, plugins.Opening{VendorTime: whole.date}); err != nil {
			return err
		}
	}
	if counter, ok := out.(plugins.Counter); ok && len(whole.Nulls) > 0 {
		counter.Count("without_figure", uint64(len(whole.Nulls)))
	}
	return u.emit(ctx, whole, out)
}

// add takes the figures of a day. The clock of the whole is the earliest: by it the day must be over.
func (r *reply) add(more reply, of time.Time) {
	for _, f := range more.Figures.Figures {
		if f.Day.Equal(of) {
			r.Figures.Figures = append(r.Figures.Figures, f)
		}
	}
	for _, d := range more.Nulls {
		if d.Equal(of) {
			r.Nulls = append(r.Nulls, d)
		}
	}
	if r.date.IsZero() || !more.date.IsZero() && more.date.Before(r.date) {
		r.date = more.date
	}
	if r.From.IsZero() || !more.From.IsZero() && more.From.Before(r.From) {
		r.From, r.To = more.From, more.To
	}
}

// lost says whether an empty answer may be of a day that the vendor has forgotten.
func (u *Usage) lost(r reply, of time.Time) bool {
	perLog := u.Form == UsageLogs || u.Form == UsageLog
	return perLog && len(r.Figures.Figures) == 0 && len(r.Nulls) == 0 && u.old(of, r.date)
}

// old says whether a day may lie before those that the document promises: whether today is one of the seven isn't said.
func (u *Usage) old(of, date time.Time) bool {
	if date.IsZero() {
		date = u.Now()
	}
	return !of.After(flow.Day(date).Add(-UsageLookBack * day))
}

func (u *Usage) op() string {
	switch u.Form {
	case UsageOrganization:
		return "read the organisation's usage"
	case UsageAccount:
		return "read the account's usage"
	}
	return "read the logs' usage"
}

// paths are what is asked for a day, a request each.
func (u *Usage) paths() []string {
	switch u.Form {
	case UsageOrganization:
		return []string{"/usage/organizations"}
	case UsageAccount:
		return []string{"/usage/accounts/" + url.PathEscape(u.Account)}
	case UsageLog:
		paths := make([]string, len(u.Logs))
		for i, id := range u.Logs {
			paths[i] = "/usage/organizations/logs/" + url.PathEscape(id)
		}
		return paths
	}
	return []string{"/usage/organizations/logs"}
}

// day asks for the figures of a day. The answer may hold others too.
func (u *Usage) day(ctx context.Context, path string, of time.Time, waiting func(time.Time, string) error) (reply, error) {
	if u.TimeRange != "" {
		r, err := u.ask(ctx, path, url.Values{"time_range": {u.TimeRange}, "interval": {"day"}}, waiting)
		if err != nil || r.holds(of) {
			return r, err
		}
	}
	// Up to the next day: whether the vendor means `to` to be included isn't documented, and figures of another day are left out.
	r, err := u.ask(ctx, path, u.dates(of, of.Add(day)), waiting)
	if err != nil {
		return u.refused(ctx, path, of, err, waiting)
	}
	if r.From.IsZero() || r.holds(of) {
		return r, nil
	}
	about := fmt.Sprintf("the vendor was asked for %s and answers for %s to %s", of.Format(time.DateOnly), r.From.Format(time.DateOnly), r.To.Format(time.DateOnly))
	if of.Before(r.From) && u.old(of, r.date) {
		return reply{}, fault.New(fault.Unavailable, u.op(), "", errors.New(about))
	}
	return reply{}, fault.New(fault.Corrupt, u.op(), "if this stays, the vendor's figures may come later than thought: raise settle", errors.New(about))
}

// dates is the query for a range of days. Only of all logs does the vendor's document name an interval, and shows no request without it.
func (u *Usage) dates(from, to time.Time) url.Values {
	query := url.Values{"from": {from.Format(time.DateOnly)}, "to": {to.Format(time.DateOnly)}}
	if u.Form == UsageLogs {
		query.Set("interval", "day")
	}
	return query
}

// holds says whether the answer is about a day, by its own words.
func (r reply) holds(of time.Time) bool {
	return !r.From.IsZero() && !of.Before(r.From) && !of.After(r.To)
}

// ask sends one request and reads its figures.
func (u *Usage) ask(ctx context.Context, path string, query url.Values, waiting func(time.Time, string) error) (reply, error) {
	answer, err := u.Client.Do(ctx, rest.Request{Op: u.op(), Path: path, Query: query, Limit: u.Limit, Waiting: waiting})
	if err != nil {
		return reply{}, u.explain(err)
	}
	defer answer.Close()
	if answer.Status != http.StatusOK {
		return reply{}, fault.Errorf(fault.Corrupt, u.op(), "the vendor answers %d where 200 was expected", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer, maxUsageAnswer+1))
	if err != nil {
		return reply{}, err
	}
	if len(body) > maxUsageAnswer {
		return reply{}, fault.Errorf(fault.Corrupt, u.op(), "the answer is longer than %d bytes", maxUsageAnswer)
	}
	figures, err := DecodeUsage(body)
	if err != nil {
		return reply{}, fault.New(fault.Corrupt, u.op(), "check base_url", err)
	}
	return reply{figures, answer.Date}, nil
}

// refused looks at a refusal: if the vendor answers the same question about a day that it must have, it is about the day and not about
// key, region or log. Then a day that lies before those that the document promises is gone, and one within them of which no data was found
// has none, once it has settled.
func (u *Usage) refused(ctx context.Context, path string, of time.Time, err error, waiting func(time.Time, string) error) (reply, error) {
	var status *rest.StatusError
	if !errors.As(err, &status) || status.Status != http.StatusBadRequest && status.Status != http.StatusNotFound {
		return reply{}, err
	}
	now := status.Date
	if now.IsZero() {
		now = u.Now()
	}
	old := u.old(of, now)
	empty := status.Status == http.StatusNotFound && strings.Contains(strings.ToLower(status.Text), "data not found") &&
		!now.Before(of.Add(day+UsageSettle))
	if !old && !empty {
		return reply{}, err
	}
	other := flow.Day(now).Add(-2 * day)
	if other.Equal(of) {
		other = of.Add(-day)
	}
	if _, wrong := u.ask(ctx, path, u.dates(other, other.Add(day)), waiting); wrong != nil {
		if ctx.Err() != nil {
			return reply{}, wrong
		}
		return reply{}, err
	}
	if !old {
		return reply{date: now}, nil
	}
	return reply{}, fault.New(fault.Unavailable, u.op(), "", fmt.Errorf("the vendor refuses %s and answers for later days: %w", of.Format(time.DateOnly), status))
}

// explain adds to a refusal what it can mean.
func (u *Usage) explain(err error) error {
	var refused *rest.StatusError
	var classified *fault.Error
	if !errors.As(err, &refused) || !errors.As(err, &classified) || classified.Hint != "" {
		return err
	}
	switch refused.Status {
	case http.StatusBadRequest:
		classified.Hint = fmt.Sprintf("the vendor refuses the range or the form: its document promises figures of logs for the last %d days, other sources say thirty", UsageLookBack)
		if u.TimeRange != "" {
			classified.Hint += "; check time_range too"
		}
	case http.StatusUnauthorized:
		classified.Hint = "check api_key, and that it belongs to " + u.Place.String()
	case http.StatusForbidden:
		classified.Hint = "the key may not read usage: the vendor asks for a key with read/write privileges; check also that it belongs to " + u.Place.String()
	case http.StatusNotFound:
		switch u.Form {
		case UsageLog:
			classified.Hint = u.Place.NotFound("a log of logs doesn't exist (deleted?)")
		case UsageAccount:
			classified.Hint = u.Place.NotFound("there is no account account_id") + "; accounts of this form are on the legacy host"
		default:
			classified.Hint = u.Place.NotFound("")
		}
	case http.StatusInternalServerError:
		classified.Hint = "if this lasts, check that the key belongs to " + u.Place.String() + ": a wrong region can read as a server error"
	}
	return err
}

// Check proves the key by asking for the figures of the last day but one, and returns a line that says what was proved.
func (u *Usage) Check(ctx context.Context) (string, error) {
	now, err := u.Client.Now(ctx)
	if err != nil {
		now = u.Now()
	}
	recent := flow.Day(now).Add(-2 * day)
	var all reply
	for _, path := range u.paths()[:1] {
		r, err := u.day(ctx, path, recent, nil)
		if err != nil {
			return "", err
		}
		all.add(r, recent)
	}
	where := fmt.Sprintf("the key is valid for %s and reads usage: on %s ", u.Place, recent.Format(time.DateOnly))
	if u.Form == UsageLogs {
		return where + fmt.Sprintf("%d logs received data", len(all.Figures.Figures)), nil
	}
	var sum int64
	for _, f := range all.Figures.Figures {
		sum += f.Bytes
	}
	return where + fmt.Sprintf("%d bytes were received", sum), nil
}

// keep returns the figures that the settings ask for, in the order of their logs.
func (u *Usage) keep(figures []Figure) []Figure {
	out := slices.Clone(figures)
	if u.Form == UsageLogs && len(u.Logs) > 0 {
		out = slices.DeleteFunc(out, func(f Figure) bool { return !slices.Contains(u.Logs, f.LogID) })
	}
	slices.SortFunc(out, func(a, b Figure) int { return cmp.Compare(a.LogID, b.LogID) })
	return out
}
