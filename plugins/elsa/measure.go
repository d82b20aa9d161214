package elsa

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	pathSearch = "/api/v1/logs/search"
	// searchEnd is where the vendor's search ends by its document. A count of exactly so many may have ended there too.
	searchEnd = 10_000
	maxSearch = 16 << 20 // bytes of an answer; a guard, not a limit of the vendor's
)

// searchBody asks the search for one record: the answer tells how many there are.
type searchBody struct {
	ProjectKey string `json:"projectKey"`
	ProjectID  int64  `json:"projectId"`
	From       int64  `json:"from"`
	To         int64  `json:"to"`
	Offset     int    `json:"offset"`
	Limit      int    `json:"limit"`
}

// Measure implements plugins.Meter: how many records the vendor's search finds in r, a request for each UTC day of it. What the search's
// answer looks like isn't documented: one without a count that can be understood is no figure.
func (s *source) Measure(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error) {
	if err := known(p.Stream); err != nil {
		return nil, err
	}
	project, ok := s.client.settings.project(p.Key)
	if !ok {
		return nil, fault.Errorf(fault.Bug, "measure "+p.String(), "project %q is none of the settings'", p.Key)
	}
	var out []flow.Measure
	for _, part := range r.CutDays() {
		rows, told, err := s.client.count(ctx, project, part)
		if err != nil {
			return nil, err
		}
		if !told {
			return out, nil // nor will it tell of the days behind
		}
		out = append(out, flow.Measure{Range: part, Rows: rows, Bytes: -1})
	}
	return out, nil
}

// count asks the search how many records a range holds; -1 if it can't be told from where the search ends. told is false if the answer has
// no count.
func (c *client) count(ctx context.Context, p project, r flow.Range) (rows int64, told bool, err error) {
	op := "count the records of project " + p.Key
	to := r.To.UnixMilli()
	if c.settings.inclusive {
		to--
	}
	text, err := json.Marshal(searchBody{ProjectKey: p.Key, ProjectID: p.ID, From: r.From.UnixMilli(), To: to, Limit: 1})
	if err != nil {
		return 0, false, fault.New(fault.Bug, op, "", err)
	}
	answer, err := c.do(ctx, rest.Request{
		Op: op, Method: http.MethodPost, Path: pathSearch, Body: text,
		Header: http.Header{"Content-Type": {"application/json"}},
	})
	if err != nil {
		return 0, false, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxSearch))
	if err != nil {
		return 0, false, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var found map[string]any
	if err := dec.Decode(&found); err != nil || found["error"] != nil {
		return 0, false, answer.refused(body, op, "instead of what was found")
	}
	rows, told = countOf(found, 0)
	if rows == searchEnd {
		rows = -1
	}
	return rows, told, nil
}

// countNames are what the count of all that a search found is called where such answers are known; countHolders, what may be around it.
var (
	countNames   = []string{"totalItems", "totalCount", "totalHits", "totalElements", "total"}
	countHolders = []string{"result", "data", "hits", "page", "pagination"}
)

// countOf finds the count in an answer whose form isn't documented: by a name that such answers give it, or in an object with one of a few
// names. A count that says of itself that there may be more is -1.
func countOf(answer map[string]any, depth int) (rows int64, told bool) {
	for _, name := range countNames {
		switch v := answer[name].(type) {
		case json.Number:
			return whole(v.String())
		case string:
			return whole(v)
		case map[string]any: // {"value": 17, "relation": "eq"}
			if n, ok := v["value"].(json.Number); ok {
				rows, told = whole(n.String())
				if relation, ok := v["relation"].(string); ok && relation != "eq" {
					rows = -1
				}
				return rows, told
			}
		}
	}
	if depth < 2 {
		for _, name := range countHolders {
			if inner, ok := answer[name].(map[string]any); ok {
				if rows, told := countOf(inner, depth+1); told {
					return rows, told
				}
			}
		}
	}
	return 0, false
}

func whole(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return n, true
}
