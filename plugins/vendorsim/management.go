package vendorsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

type logInfo struct {
	ID              string         `json:"id"`
	Name            string         `json:"name"`
	Tokens          []string       `json:"tokens"`
	Structures      []string       `json:"structures"`
	SourceType      string         `json:"source_type"`
	TokenSeed       *string        `json:"token_seed"`
	RetentionPeriod string         `json:"retention_period"`
	UserData        map[string]any `json:"user_data"`
	Links           []logLink      `json:"links"`
	LogsetsInfo     []logsetInfo   `json:"logsets_info"`
}

type logLink struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

type logsetInfo struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Logset is a named set of logs.
type Logset struct {
	ID, Name, Description string
	Logs                  []string // IDs; those that aren't there are left out
}

// Label is what the vendor puts on events: those whose line holds Word. Without a Name it can't be looked up (404).
type Label struct{ ID, Name, Word string }

// SavedQuery is a query that the vendor keeps.
type SavedQuery struct {
	ID   string    `json:"id"`
	Name string    `json:"name"`
	Logs []string  `json:"logs"`
	LEQL SavedLEQL `json:"leql"`
}

// SavedLEQL is the text of a saved query and the time it is for.
type SavedLEQL struct {
	Statement string      `json:"statement"`
	During    SavedDuring `json:"during"`
}

// SavedDuring is the time that a saved query is for.
type SavedDuring struct {
	From      *int64  `json:"from"`
	To        *int64  `json:"to"`
	TimeRange *string `json:"time_range"`
}

type logsetDetail struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	UserData    map[string]any `json:"user_data"`
	RRN         string         `json:"rrn"`
	LogsInfo    []logsetInfo   `json:"logs_info"`
}

// TokenOf returns the token by which one could write to a log: a secret, which nobody who reads logs should keep.
func TokenOf(id string) string { return "70ce7000" + strings.TrimLeft(id, "0123456789abcdefABCDEF") }

func (s *Sim) infoOf(l *logContent) logInfo {
	info := logInfo{
		ID: l.ID, Name: l.Name, Tokens: []string{TokenOf(l.ID)}, Structures: []string{}, SourceType: "token",
		RetentionPeriod: "default", UserData: map[string]any{}, Links: []logLink{}, LogsetsInfo: []logsetInfo{},
	}
	for _, set := range s.opts.Logsets {
		if slices.ContainsFunc(set.Logs, func(id string) bool { return strings.EqualFold(id, l.ID) }) {
			info.LogsetsInfo = append(info.LogsetsInfo, logsetInfo{set.ID, set.Name})
		}
	}
	return info
}

// listLogsets answers GET /management/logsets[/{id}].
func (c *call) listLogsets() {
	id := strings.TrimPrefix(strings.TrimPrefix(c.path, "/management/logsets"), "/")
	sets := []logsetDetail{}
	for _, set := range c.sim.opts.Logsets {
		d := logsetDetail{
			ID: set.ID, Name: set.Name, Description: set.Description, UserData: map[string]any{},
			RRN: "rrn:logsearch:us:logset:" + set.ID, LogsInfo: []logsetInfo{},
		}
		for _, logID := range set.Logs {
			if l := c.sim.log(logID); l != nil {
				d.LogsInfo = append(d.LogsInfo, logsetInfo{l.ID, l.Name})
			}
		}
		if strings.EqualFold(id, set.ID) {
			c.json(http.StatusOK, map[string]any{"logset": d})
			return
		}
		sets = append(sets, d)
	}
	if id != "" {
		c.sim.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
		return
	}
	c.json(http.StatusOK, map[string]any{"logsets": sets})
}

// listLabels answers GET /management/labels/{id}.
func (c *call) listLabels() {
	id := strings.TrimPrefix(c.path, "/management/labels/")
	for i, l := range c.sim.opts.Labels {
		if strings.EqualFold(l.ID, id) && l.Name != "" {
			c.json(http.StatusOK, map[string]any{"label": map[string]any{
				"id": l.ID, "name": l.Name, "color": "ff0000", "reserved": false, "sn": i,
			}})
			return
		}
	}
	c.sim.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
}

// listLogs answers GET /management/logs and /management/logs/{id}.
func (c *call) listLogs() {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		c.sim.fail(c.w, c.x, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
		return
	}
	id := strings.TrimPrefix(strings.TrimPrefix(c.path, "/management/logs"), "/")
	if id != "" {
		l := c.sim.log(id)
		if l == nil {
			c.sim.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
			return
		}
		c.json(http.StatusOK, map[string]any{"log": c.sim.infoOf(l)})
		return
	}
	infos := []logInfo{}
	for _, id := range c.sim.LogIDs() {
		if l := c.sim.log(id); l != nil && !l.Unlisted {
			infos = append(infos, c.sim.infoOf(l))
		}
	}
	c.json(http.StatusOK, map[string]any{"logs": infos})
}

// validate answers GET /validate, the cheapest check of a key.
func (c *call) validate(key string) {
	if slices.Contains(c.sim.opts.Keys, key) || slices.Contains(c.sim.opts.ReadOnlyKeys, key) {
		c.json(http.StatusOK, map[string]any{"message": "Authorized"})
		return
	}
	c.sim.fail(c.w, c.x, http.StatusUnauthorized, "Unauthorized")
}

func (c *call) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types always encode
	}
	c.sim.answer(c.w, c.x, status, jsonType, body)
}
