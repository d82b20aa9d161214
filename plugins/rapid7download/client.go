package rapid7download

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// client asks the vendor.
type client struct {
	rest     *rest.Client
	settings settings
	download plugins.Limit
}

func newClient(s settings, cfg plugins.Config) (*client, error) {
	o, err := s.Options(cfg)
	if err != nil {
		return nil, fault.New(fault.Config, "open "+Name, "", err)
	}
	o.BaseURL, o.PlainHTTP = s.place.URL(), true // http must be spelled out in base_url, which is permission enough
	o.Header = http.Header{"X-Api-Key": {s.APIKey}}
	o.Key = s.APIKey
	o.Gzip = s.Gzip
	c, err := rest.New(o)
	if err != nil {
		return nil, err
	}
	d := &client{rest: c, settings: s, download: s.Settings.Limit(rapid7.DownloadLimit)}
	// Logs' IDs are all as long, and so are milliseconds until the year 2286.
	const someTime = 9_999_999_999_999
	if n := len(c.URL(d.request(s.Logs[0], someTime, someTime))); n > rapid7.MaxURL {
		return nil, errors.Join(fault.Errorf(fault.Config, "read the settings of "+Name,
			"query: is too long: the URL of a download would have %d characters, and the vendor takes %d", n, rapid7.MaxURL), c.Close())
	}
	return d, nil
}

// meter returns what tells the vendor's usage figures; nil if the settings leave out records, which the figures count.
func (c *client) meter() *rapid7.Meter {
	if c.settings.Query != rapid7.MatchAll {
		return nil
	}
	return rapid7.NewMeter(rapid7.Usage{Client: c.rest, Place: c.settings.place, Limit: rapid7.UsageLimit, Now: time.Now})
}

// open asks for the lines of a slice: one log, bounds in milliseconds, always with a query and a limit.
func (c *client) open(ctx context.Context, s flow.Slice, waiting func(time.Time, string) error) (*rest.Answer, error) {
	to := s.To.UnixMilli()
	if c.settings.inclusive {
		to--
	}
	op := "download log " + s.Key
	path, query := c.request(s.Key, s.From.UnixMilli(), to)
	answer, err := c.rest.Do(ctx, rest.Request{Op: op, Path: path, Query: query, Limit: c.download, Waiting: waiting})
	if err != nil {
		return nil, c.explain(err, "the log doesn't exist (deleted?)")
	}
	if answer.Status != http.StatusOK {
		answer.Close()
		return nil, fault.Errorf(fault.Corrupt, op, "the vendor answers %d where 200 was expected", answer.Status)
	}
	if err := notLines(answer, op); err != nil {
		answer.Close()
		return nil, err
	}
	return answer, nil
}

// request is the path and the query of a download; the bounds are milliseconds since 1970.
func (c *client) request(log string, from, to int64) (path string, query url.Values) {
	return "/download/logs/" + url.PathEscape(log), url.Values{
		"from":  {strconv.FormatInt(from, 10)},
		"to":    {strconv.FormatInt(to, 10)},
		"query": {c.settings.Query},
		"limit": {strconv.FormatUint(c.settings.Limit, 10)},
	}
}

// notLines refuses an answer that says of itself that it is JSON or XML: lines are documented as plain text, so it is an error that came with
// a good status. Lines that are JSON come as plain text, too.
func notLines(answer *rest.Answer, op string) error {
	media, _, _ := strings.Cut(strings.ToLower(answer.Header.Get("Content-Type")), ";")
	if media = strings.TrimSpace(media); !strings.HasSuffix(media, "json") && !strings.HasSuffix(media, "xml") {
		return nil
	}
	return fault.New(fault.Corrupt, op, "check base_url, and whether a proxy answers in the vendor's place",
		fmt.Errorf("the vendor answers 200 with %s instead of lines: %s", media, answer.Excerpt()))
}

// explain adds to a refusal what it can mean: the vendor's documents contradict each other about wrong keys, and a wrong
// region has no status of its own. missing says what a 404 may mean beside that.
func (c *client) explain(err error, missing string) error {
	var refused *rest.StatusError
	var classified *fault.Error
	if !errors.As(err, &refused) || !errors.As(err, &classified) || classified.Hint != "" {
		return err
	}
	place := c.settings.place.String()
	switch refused.Status {
	case http.StatusBadRequest:
		classified.Hint = "the vendor refuses the request: check query, logs and limit"
	case http.StatusUnauthorized:
		classified.Hint = "check api_key, and that it belongs to " + place
	case http.StatusForbidden:
		classified.Hint = "the key may not download: the vendor asks for a key with read/write privileges; check also that it belongs to " + place
	case http.StatusNotFound:
		classified.Hint = c.settings.place.NotFound(missing)
	case http.StatusInternalServerError:
		classified.Hint = "if this lasts, check that the key belongs to " + place + ": a wrong region can read as a server error"
	}
	return err
}

// listed is what the vendor tells of its logs.
type listed struct {
	Logs []listedLog `json:"logs"`
}

type listedLog struct {
	ID string `json:"id"`
}

const maxListing = 256 << 20 // bytes; a guard, not a limit of the vendor's

// check proves the key by listing the logs, the cheapest call that needs it.
func (c *client) check(ctx context.Context) (string, error) {
	const op = "list logs"
	answer, err := c.rest.Do(ctx, rest.Request{Op: op, Path: "/management/logs", Limit: rapid7.ManagementLimit})
	if err != nil {
		return "", c.explain(err, "")
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxListing))
	if err != nil {
		return "", err
	}
	var list listed
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fault.New(fault.Corrupt, op, "check base_url", errors.New("the answer isn't the documented JSON"))
	}
	if list.Logs == nil {
		return "", fault.New(fault.Corrupt, op, "check base_url", errors.New("the answer holds no list of logs"))
	}
	var missing []string
	for _, id := range c.settings.Logs {
		if !slices.ContainsFunc(list.Logs, func(l listedLog) bool { return strings.EqualFold(l.ID, id) }) {
			missing = append(missing, id)
		}
	}
	summary := fmt.Sprintf("the key is valid for %s and sees %d logs", c.settings.place, len(list.Logs))
	if len(missing) > 0 {
		summary += "; not among them (internal logs aren't listed): " + strings.Join(missing, ", ")
	}
	return summary, nil
}
