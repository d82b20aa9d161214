package logentries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
)

// client asks the vendor. Safe for concurrent use.
type client struct {
	settings settings
	base     *url.URL
	options  rest.Options // of the API key, to be used with any of the vendor's origins
	rest     *rest.Client // of the configured one
	owner    *rest.Client // without the API key, for signed requests; nil without an owner key
	log      *slog.Logger
	now      func() time.Time

	query, poll, management, usage plugins.Limit

	mu     sync.Mutex
	linked map[string]*rest.Client // by origin: links may lead to the vendor's other hosts
}

func newClient(s settings, cfg plugins.Config) (*client, error) {
	o, err := s.Options(cfg)
	if err != nil {
		return nil, fault.New(fault.Config, "open "+Name, "", err)
	}
	base, err := rest.ParseBaseURL(s.place.URL(), true)
	if err != nil {
		return nil, fault.New(fault.Config, "open "+Name, "", err)
	}
	o.BaseURL, o.PlainHTTP = s.place.URL(), true // http must be spelled out in base_url, which is permission enough
	o.BudgetOrigin = rest.Origin(base)
	o.Header = http.Header{"X-Api-Key": {s.APIKey}}
	o.Key = s.APIKey
	if s.OwnerKey != "" {
		o.Secrets = []string{s.OwnerKey}
	}
	r, err := rest.New(o)
	if err != nil {
		return nil, err
	}
	var owner *rest.Client
	if s.OwnerKey != "" {
		signed := o
		// The key that the vendor counts by is the owner's; its ID names it as well.
		signed.Header, signed.Key, signed.Secrets = nil, s.OwnerKeyID, []string{s.OwnerKey, s.APIKey}
		if owner, err = rest.New(signed); err != nil {
			return nil, err
		}
	}
	return &client{
		settings: s, base: base, options: o, rest: r, owner: owner, log: cfg.Log, now: time.Now, linked: map[string]*rest.Client{},
		// The settings replace the limit of queries. Another window for the others would let more pass than the vendor allows.
		query: s.Settings.Limit(rapid7.QueryLimit), poll: rapid7.PollLimit, management: rapid7.ManagementLimit, usage: rapid7.UsageLimit,
	}, nil
}

func (c *client) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.rest.Close()}
	if c.owner != nil {
		errs = append(errs, c.owner.Close())
	}
	for _, r := range c.linked {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// at returns a client of one of the vendor's origins, without a path of its own. It shares key and budget.
func (c *client) at(origin string) (*rest.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.linked[origin]; r != nil {
		return r, nil
	}
	if c.base.Path == "" && origin == c.rest.Origin() {
		return c.rest, nil
	}
	o := c.options
	o.BaseURL = origin
	r, err := rest.New(o)
	if err == nil {
		c.linked[origin] = r
	}
	return r, err
}

// waiting is told what a request waits for.
type waiting func(until time.Time, why string) error

// start asks for a page of a log's events in [at.from, to), or what follows at within its millisecond.
func (c *client) start(ctx context.Context, logID string, at position, to int64, perPage int, w waiting) (*rest.Answer, error) {
	values := url.Values{"per_page": {strconv.Itoa(perPage)}}
	if at.after {
		values.Set("sequence_number", strconv.FormatUint(at.sequence, 10))
	}
	r := rest.Request{Op: "query log " + logID, Path: "/query/logs/" + url.PathEscape(logID), Limit: c.query, Waiting: w}
	inBody := values
	r.Query = url.Values{
		"from": {strconv.FormatInt(at.from, 10)}, "to": {strconv.FormatInt(to, 10)}, "query": {c.settings.Query},
	}
	for name, value := range values {
		r.Query[name] = value
	}
	if len(c.rest.URL(r.Path, r.Query)) > rapid7.MaxURL {
		body, err := json.Marshal(queryBody{
			Logs: []string{logID},
			LEQL: queryLEQL{Statement: c.settings.Query, During: during{From: at.from, To: to}},
		})
		if err != nil {
			return nil, fault.New(fault.Bug, r.Op, "", err)
		}
		r.Method, r.Path, r.Query, r.Body = http.MethodPost, "/query/logs", inBody, body
		r.Header = http.Header{"Content-Type": {contentType}}
	}
	answer, err := c.rest.Do(ctx, r)
	return answer, c.explain(err, "the log doesn't exist (deleted?)")
}

type queryBody struct {
	Logs []string  `json:"logs"`
	LEQL queryLEQL `json:"leql"`
}

type queryLEQL struct {
	Statement string `json:"statement"`
	During    during `json:"during"`
}

type during struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// next polls a query that runs, by the link of its last answer.
func (c *client) next(ctx context.Context, logID, self string, w waiting) (*rest.Answer, error) {
	t, err := follow(self, c.base)
	if err != nil {
		return nil, err
	}
	r, err := c.at(t.origin)
	if err != nil {
		return nil, err
	}
	return r.Do(ctx, rest.Request{Op: "poll the query of log " + logID, Path: t.path, Limit: c.poll, Waiting: w})
}

// get asks for what the API key may see; the caller closes the answer.
func (c *client) get(ctx context.Context, op, path string, limit plugins.Limit, w waiting) (*rest.Answer, error) {
	answer, err := c.rest.Do(ctx, rest.Request{Op: op, Path: path, Limit: limit, Waiting: w})
	if err != nil {
		return nil, c.explain(err, "")
	}
	return answer, nil
}

// labelOf asks for a label.
func (c *client) labelOf(ctx context.Context, id string, w waiting) ([]byte, error) {
	op := "look up label " + id
	answer, err := c.get(ctx, op, "/management/labels/"+id, c.management, w)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return readAll(answer, op, maxObject)
}

// maxObject is how long an answer of one object may be, in bytes; a guard, not a limit of the vendor's.
const maxObject = 16 << 20

// getOwner is get for what only the account's owner may see: it is signed instead of keyed.
func (c *client) getOwner(ctx context.Context, op, path string, w waiting) (*rest.Answer, error) {
	if c.owner == nil {
		return nil, fault.Errorf(fault.Config, op, "only the account's owner may see this").
			WithHint("give owner_key, owner_key_id and account_id")
	}
	var proof string
	answer, err := c.owner.Do(ctx, rest.Request{
		Op: op, Path: path, Limit: c.management, Waiting: w,
		Sign: func(r *http.Request) { proof = c.settings.signOwner(r, c.now()) },
	})
	return answer, c.explainOwner(err, proof)
}

// errLarge is an answer beyond a limit of ours.
var errLarge = errors.New("the answer is too large")

// readAll reads an answer of at most so many bytes. Its buffer doubles up to just that, so that with the old one, while it grows, it is
// never more than half as large again.
func readAll(r io.Reader, op string, most int64) ([]byte, error) {
	room := most + 1 // one more shows that there is more
	for room > firstRoom {
		room = (room + 1) / 2
	}
	body := make([]byte, 0, room)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return nil, fault.New(fault.Oversize, op, "", fmt.Errorf("%w: more than %d bytes", errLarge, most))
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		}
		if len(body) == cap(body) {
			grown := make([]byte, len(body), min(2*int64(cap(body)), most+1))
			copy(grown, body)
			body = grown
		}
	}
}

// firstRoom is how large a buffer for an answer begins, in bytes, more or less.
const firstRoom = 64 << 10

// explain adds to a refusal what it can mean: a wrong region has no status of its own. missing says what a 404 may mean beside that.
func (c *client) explain(err error, missing string) error {
	var refused *rest.StatusError
	var classified *fault.Error
	if !errors.As(err, &refused) || !errors.As(err, &classified) || classified.Hint != "" {
		return err
	}
	place := c.settings.place.String()
	switch refused.Status {
	case http.StatusBadRequest:
		classified.Hint = "the vendor refuses the request: check query and logs"
	case http.StatusUnauthorized:
		classified.Hint = "check api_key, and that it belongs to " + place
	case http.StatusForbidden:
		classified.Hint = "the key may not do this (read-only?); check also that it belongs to " + place
	case http.StatusNotFound:
		classified.Hint = c.settings.place.NotFound(missing)
	case http.StatusInternalServerError:
		classified.Hint = "if this lasts, check that the key belongs to " + place + ": a wrong region can read as a server error"
	}
	return err
}

// skewed is how far this machine's clock may be off before a refused signature is laid to it.
const skewed = 5 * time.Minute

// explainOwner is explain for a signed request. The proof isn't shown, though it is good for that request alone.
func (c *client) explainOwner(err error, proof string) error {
	var refused *rest.StatusError
	var classified *fault.Error
	if !errors.As(err, &refused) || !errors.As(err, &classified) {
		return err
	}
	if proof != "" {
		refused.Text = strings.ReplaceAll(refused.Text, proof, "***")
	}
	if classified.Hint != "" {
		return err
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		classified.Hint = "check owner_key, owner_key_id and account_id: all three belong to one account of " + c.settings.place.String()
		if off := c.now().Sub(refused.Date); !refused.Date.IsZero() && off.Abs() > skewed {
			classified.Hint = fmt.Sprintf("this machine's clock differs from the vendor's by %v, and the signature holds the time: set the clock",
				off.Round(time.Second))
		}
	case http.StatusNotFound:
		classified.Hint = "check account_id, and that the account belongs to " + c.settings.place.String()
	case http.StatusInternalServerError:
		classified.Hint = "if this lasts: an account without an owner can read as a server error"
	}
	return err
}
