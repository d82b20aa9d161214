package elsa

import (
	"bufio"
	"bytes"
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
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// Paths of the API, part of what is signed.
const (
	pathDownload = "/api/v1/logs/download"
	pathFields   = "/api/v1/fields"
)

// client asks the vendor.
type client struct {
	rest     *rest.Client
	settings settings
	limit    plugins.Limit
	now      func() time.Time // this machine's clock, which stamps signatures
}

func newClient(s settings, cfg plugins.Config) (*client, error) {
	o, err := s.Options(cfg)
	if err != nil {
		return nil, fault.New(fault.Config, "open "+Name, "", err)
	}
	o.BaseURL, o.PlainHTTP = s.baseURL(), true // http must be spelled out in base_url, which is permission enough
	o.Key = s.AccessKey
	o.Secrets = []string{s.SecretKey}
	c, err := rest.New(o)
	if err != nil {
		return nil, err
	}
	return &client{
		rest: c, settings: s, limit: s.Settings.Limit(downloadLimit), now: time.Now,
	}, nil
}

// reply is an answer, and what hides from its text what its request proved itself with.
type reply struct {
	*rest.Answer
	hide    *strings.Replacer
	longest int // bytes of the longest of them
}

// refusalRead is how many bytes are read of a text that stands where data should.
const refusalRead = 8 << 10

// refused is the error of a good status with a text where data should be.
func (r *reply) refused(text []byte, op, where string) error {
	shown := r.hide.Replace(string(text))
	if len(text) >= refusalRead { // it goes on, and may end here with a part of what is hidden
		shown = shown[:max(0, len(shown)-r.longest)]
	}
	return refusedBy([]byte(shown), op, where)
}

// do signs and sends one request. Its signature is made when it is sent, after any wait for the budget.
func (c *client) do(ctx context.Context, r rest.Request) (*reply, error) {
	signed := ""
	r.Sign = func(q *http.Request) { signed = sign(q, c.now(), c.settings.AccessKey, c.settings.SecretKey) }
	r.Limit = c.limit
	answer, err := c.rest.Do(ctx, r)
	if err != nil {
		var refused *rest.StatusError
		if errors.As(err, &refused) && signed != "" {
			refused.Text = strings.ReplaceAll(refused.Text, signed, "***")
		}
		return nil, c.explain(err)
	}
	hide := strings.NewReplacer(c.settings.AccessKey, "***", c.settings.SecretKey, "***", signed, "***")
	return &reply{answer, hide, max(len(c.settings.AccessKey), len(c.settings.SecretKey), len(signed))}, nil
}

// downloadBody is the body of a download, in the document's order.
type downloadBody struct {
	ProjectKey    string   `json:"projectKey"`
	ProjectID     int64    `json:"projectId"`
	From          int64    `json:"from"`
	To            int64    `json:"to"`
	Format        string   `json:"format"`
	IncludeFields []string `json:"includeFields,omitempty"`
	Limit         uint64   `json:"limit"`
	Count         uint64   `json:"count"`
}

// check compares a body with the vendor's documented ranges, before anything is sent.
func (b downloadBody) check() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if err := checkProjectKey(b.ProjectKey); err != nil {
		errs = append(errs, fmt.Errorf("projectKey: %w", err))
	}
	bad(b.ProjectID < 1, "projectId: %d", b.ProjectID)
	bad(b.From < 0 || b.To < b.From, "from %d, to %d: want milliseconds since 1970 in order", b.From, b.To)
	bad(b.Format != formatJSON && b.Format != formatCSV, "format: %q", b.Format)
	bad(b.Limit < 1 || b.Limit > maxLimit, "limit: %d", b.Limit)
	bad(b.Count < 1 || b.Count > maxCount, "count: %d", b.Count)
	for i, f := range b.IncludeFields {
		if err := checkField(f); err != nil {
			errs = append(errs, fmt.Errorf("includeFields[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// download is an answer that holds an archive: its first bytes say so.
type download struct {
	*reply
	body *bufio.Reader
}

// Read reads the archive. It returns io.EOF only after the answer was proved complete.
func (d *download) Read(p []byte) (int, error) { return d.body.Read(p) }

// open asks for the records of a slice.
func (c *client) open(ctx context.Context, p project, s flow.Slice, waiting func(time.Time, string) error) (*download, error) {
	to := s.To.UnixMilli()
	if c.settings.inclusive {
		to--
	}
	return c.download(ctx, p, s.From.UnixMilli(), to, waiting)
}

func (c *client) download(ctx context.Context, p project, from, to int64, waiting func(time.Time, string) error) (*download, error) {
	op := "download project " + p.Key
	body := downloadBody{
		ProjectKey: p.Key, ProjectID: p.ID, From: from, To: to, Format: c.settings.Format,
		IncludeFields: c.settings.wanted(), Limit: c.settings.Limit, Count: c.settings.Count,
	}
	if err := body.check(); err != nil {
		return nil, fault.New(fault.Config, op, "the request would be outside of what the vendor documents", err)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fault.New(fault.Bug, op, "", err)
	}
	answer, err := c.do(ctx, rest.Request{
		Op: op, Method: http.MethodPost, Path: pathDownload, Body: text,
		Header: http.Header{"Content-Type": {"application/json"}}, Waiting: waiting,
	})
	if err != nil {
		return nil, err
	}
	d := &download{reply: answer, body: bufio.NewReader(answer)}
	if err := c.accept(op, d); err != nil {
		answer.Close()
		return nil, err
	}
	return d, nil
}

// accept refuses an answer that can't be an archive.
func (c *client) accept(op string, d *download) error {
	if d.Status != http.StatusOK {
		return fault.Errorf(fault.Corrupt, op, "the vendor answers %d where 200 was expected", d.Status)
	}
	start, err := d.body.Peek(2)
	switch {
	case err != nil && err != io.EOF:
		return err
	case bytes.Equal(start, []byte("PK")):
		return nil
	case len(start) == 0:
		return fault.Errorf(fault.Corrupt, op, "the vendor answers 200 with nothing: want a zip file")
	}
	text, err := io.ReadAll(io.LimitReader(d.body, refusalRead))
	if err != nil {
		return err
	}
	err = d.refused(text, op, "instead of a zip file")
	var refused *fault.Error
	if told := d.Vendor.RetryAfter; told > 0 && errors.As(err, &refused) && refused.Kind == fault.Throttled {
		refused.RetryAfter = told
	}
	return err
}

// fields asks for the names of the fields that a project's records have in a range of time.
func (c *client) fields(ctx context.Context, p project, from, to time.Time) ([]string, error) {
	op := "list the fields of project " + p.Key
	answer, err := c.do(ctx, rest.Request{Op: op, Path: pathFields, Query: url.Values{
		"projectKey": {p.Key}, "projectId": {strconv.FormatInt(p.ID, 10)},
		"from": {strconv.FormatInt(from.UnixMilli(), 10)}, "to": {strconv.FormatInt(to.UnixMilli(), 10)},
	}})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	text, err := io.ReadAll(io.LimitReader(answer, 16<<20))
	if err != nil {
		return nil, err
	}
	var list any
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, answer.refused(text, op, "instead of a list of fields")
	}
	if o, ok := list.(map[string]any); ok && o["error"] != nil {
		return nil, answer.refused(text, op, "instead of a list of fields")
	}
	if !holdsFields(list) {
		return nil, answer.refused(text, op, "instead of a list of fields")
	}
	names := fieldNames(list)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// holdsFields says whether an answer may be a list of fields. An empty list is one; an empty object is no answer to the question.
func holdsFields(v any) bool {
	switch v := v.(type) {
	case []any:
		return true
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// fieldNames finds names in a list whose form isn't documented: texts, objects with a name, or an object of fields.
func fieldNames(v any) (out []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			switch e := e.(type) {
			case string:
				out = append(out, e)
			case map[string]any:
				for _, key := range []string{"name", "fieldName", "field", "key"} {
					if name, ok := e[key].(string); ok {
						out = append(out, name)
						break
					}
				}
			}
		}
	case map[string]any:
		for _, e := range v {
			switch e.(type) {
			case []any, map[string]any:
				out = append(out, fieldNames(e)...)
			}
		}
		if len(out) == 0 {
			for name := range v {
				out = append(out, name)
			}
		}
	}
	return out
}

const checkedRange = time.Hour

// check proves keys and projects by listing fields, the cheapest call; where there is no such call, by a download of one
// millisecond.
func (c *client) check(ctx context.Context) (string, error) {
	now, err := c.vendorNow(ctx)
	if err != nil {
		return "", err
	}
	var seen []string
	for _, p := range c.settings.Projects {
		names, err := c.fields(ctx, p, now.Add(-checkedRange), now)
		if kind := fault.KindOf(err); kind == fault.NotFound || kind == fault.Corrupt {
			var d *download
			if d, err = c.download(ctx, p, now.UnixMilli(), now.UnixMilli(), nil); err == nil {
				d.Close()
				seen = append(seen, fmt.Sprintf("%s may be downloaded", p.Key))
				continue
			}
		}
		if err != nil {
			return "", err
		}
		said := fmt.Sprintf("%s has %d fields in the last hour", p.Key, len(names))
		missing := slices.DeleteFunc(slices.Clone(c.settings.IncludeFields), func(f string) bool { return slices.Contains(names, f) })
		if len(names) > 0 && len(missing) > 0 {
			said += " (of include_fields not among them: " + strings.Join(missing, ", ") + ")"
		}
		seen = append(seen, said)
	}
	return "the keys are valid: " + strings.Join(seen, "; "), nil
}

// vendorNow returns the vendor's clock, this machine's if the vendor tells none.
func (c *client) vendorNow(ctx context.Context) (time.Time, error) {
	now, err := c.rest.Now(ctx)
	if fault.KindOf(err) == fault.Config {
		return c.now().UTC(), nil
	}
	return now, err
}

const discoveredRange = 24 * time.Hour

// discover lists the configured projects and the fields that their records had in the last day.
func (c *client) discover(ctx context.Context, yield func(plugins.Found) error) error {
	now, err := c.vendorNow(ctx)
	if err != nil {
		return err
	}
	for _, p := range c.settings.Projects {
		names, err := c.fields(ctx, p, now.Add(-discoveredRange), now)
		if err != nil {
			return err
		}
		id := strconv.FormatInt(p.ID, 10)
		if err := yield(plugins.Found{Kind: "project", ID: p.Key, Name: p.Key, Attributes: map[string]string{"project_id": id}}); err != nil {
			return err
		}
		for _, name := range names {
			f := plugins.Found{Kind: "field", ID: p.Key + "/" + name, Name: name, Attributes: map[string]string{"project_key": p.Key}}
			if err := yield(f); err != nil {
				return err
			}
		}
	}
	return nil
}
