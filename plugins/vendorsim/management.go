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

func infoOf(l *logContent) logInfo {
	return logInfo{
		ID: l.ID, Name: l.Name, Tokens: []string{}, Structures: []string{}, SourceType: "token",
		RetentionPeriod: "default", UserData: map[string]any{}, Links: []logLink{}, LogsetsInfo: []logsetInfo{},
	}
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
		c.json(http.StatusOK, map[string]any{"log": infoOf(l)})
		return
	}
	infos := []logInfo{}
	for _, id := range c.sim.LogIDs() {
		if l := c.sim.log(id); l != nil && !l.Unlisted {
			infos = append(infos, infoOf(l))
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
