package rapid7usage

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSettings(t *testing.T) {
	s, err := parseSettings(json.RawMessage(`{"region":" EU ","api_key":" k ","logs":["AEE00B66-a543-43dc-b093-53963c2e8f41","aee00b66-a543-43dc-b093-53963c2e8f41"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.place.URL() != "https://eu.rest.logs.insight.rapid7.com" || s.APIKey != "k" || s.Form != "logs" || len(s.Logs) != 1 ||
		time.Duration(s.Settle) != 24*time.Hour || !s.LogNames {
		t.Errorf("settings %+v", s)
	}
	for _, bound := range []string{"exclusive", "inclusive"} { // as every source takes them
		if _, err := parseSettings(json.RawMessage(`{"region":"eu","api_key":"k","time":"none","to_bound":"` + bound + `"}`)); err != nil {
			t.Errorf("to_bound %s: %v", bound, err)
		}
	}
}

func TestSettingsRefused(t *testing.T) {
	const ok = `"region":"eu","api_key":"s3cret-key"`
	const id = `"aee00b66-a543-43dc-b093-53963c2e8f41"`
	tests := []struct{ name, settings, want string }{
		{"unknown key", `{` + ok + `,"log":[]}`, `unknown field "log"`},
		{"no region", `{"api_key":"k"}`, "region: is missing"},
		{"no key", `{"region":"eu"}`, "api_key: is empty"},
		{"a form", `{` + ok + `,"form":"weekly"}`, "form: "},
		{"no logs", `{` + ok + `,"form":"log"}`, "logs: is missing"},
		{"logs of a total", `{` + ok + `,"form":"organization","logs":[` + id + `]}`, "tells one total"},
		{"no log ID", `{` + ok + `,"logs":["web"]}`, "logs[0]"},
		{"no account", `{` + ok + `,"form":"account"}`, "account_id: goes with"},
		{"an account without its form", `{` + ok + `,"account_id":"a"}`, "account_id: goes with"},
		{"an account that leads elsewhere", `{` + ok + `,"form":"account","account_id":"../x"}`, "not an account"},
		{"a time range that adds parameters", `{` + ok + `,"time_range":"Last7Days&from=1"}`, "time_range: "},
		{"settle", `{` + ok + `,"settle":"60d"}`, "settle: "},
		{"a bound", `{` + ok + `,"to_bound":"open"}`, "to_bound: "},
		{"a time", `{` + ok + `,"time":"auto"}`, "time: figures have a day, and no text"},
		{"a time by a regex", `{` + ok + `,"time":{"regex":"at=(.*)","layout":"epoch"}}`, "time: figures have a day, and no text"},
		{"rest", `{` + ok + `,"budget":{"share":2}}`, "budget.share"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseSettings(json.RawMessage(tt.settings))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret-key") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
