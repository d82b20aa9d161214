package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// The owner of the simulated account; the key must turn up nowhere.
const (
	ownerKey  = "0e5f5ec2-1234-4a7b-9c0d-0e5f00d5ec2e"
	ownerID   = "0e5f5ec2-1234-4a7b-9c0d-000000000001"
	accountID = "0e5f5ec2-1234-4a7b-9c0d-00000000000a"
)

// directoryOf is what the tests of streams serve beside logs.
func directoryOf(o *vendorsim.Options) {
	from, to, relative := int64(1), int64(2), "last 1 hour"
	o.Logsets = []vendorsim.Logset{
		{ID: "11111111-2222-4333-8444-000000000001", Name: "front", Description: "what users see, \"quoted\"", Logs: []string{vendorsim.SeedWebID, vendorsim.SeedAppID}},
		{ID: "11111111-2222-4333-8444-000000000002", Name: "nothing"},
	}
	o.SavedQueries = []vendorsim.SavedQuery{
		{ID: "22222222-2222-4333-8444-000000000001", Name: "errors", Logs: []string{vendorsim.SeedWebID}, LEQL: vendorsim.SavedLEQL{
			Statement: "where(/a,b/)", During: vendorsim.SavedDuring{TimeRange: &relative},
		}},
		{ID: "22222222-2222-4333-8444-000000000002", Name: "all", LEQL: vendorsim.SavedLEQL{During: vendorsim.SavedDuring{From: &from, To: &to}}},
	}
	o.Owner = vendorsim.Owner{Account: accountID, Name: "ACME & Söhne", KeyID: ownerID, Key: ownerKey, Users: []vendorsim.User{
		{ID: "b", Email: "john@example.com", FirstName: "John", LastName: "Smith <&>", LoginName: "john"}, {ID: "a", Email: "ann@example.com"},
	}}
}

// TestEveryStreamOfLogentries reads all streams of both keys at once, from a vendor that fails now and then, and compares each record
// with what was served.
func TestEveryStreamOfLogentries(t *testing.T) {
	t.Parallel()
	clock := vendorsim.NewClock(0)
	today := seedStart.AddDate(0, 0, 3)
	clock.Freeze(today.Add(6 * time.Hour))
	r := sourcesRig(t, func(o *vendorsim.Options) {
		o.Clock, o.Query.Immediate = clock, true
		directoryOf(o)
		o.Faults = vendorsim.Script{Rules: []vendorsim.Rule{
			{Name: "busy listing", Path: "/management/logs", Nth: []int{1}, Fault: vendorsim.Fault{Status: 503}},
			{Name: "busy account", Path: "/management/accounts/", Nth: []int{1}, Fault: vendorsim.Fault{Status: 500}},
			{Name: "busy query", Path: "/query/", Nth: []int{1}, Fault: vendorsim.Fault{Status: 429, RetryAfter: "1"}},
			{Name: "cut usage", Path: "/usage/", Nth: []int{1}, Fault: vendorsim.Fault{CutAfter: vendorsim.At(10)}},
		}}
	})
	r.env = append(r.env, "E2E_OWNER_KEY="+ownerKey)
	p, root := r.pipelineOf("all", "logentries", "ndjson", obj{
		"logs": []any{"awkward", vendorsim.SeedEmptyID}, "logsets": []any{"front"}, // the four logs by name, by ID and by set
		"owner_key": "${env:E2E_OWNER_KEY}", "owner_key_id": ownerID, "account_id": accountID,
	})
	p["streams"] = []any{"events", "logs", "logsets", "saved_queries", "users", "account", "usage"}
	p["range"] = obj{"from": r.from.Format(time.RFC3339)} // up to now: today's snapshots are due, those of the days before can't be had
	for name, config := range map[string]obj{"csv": {"format": "csv"}, "parquet": {}, "arrow": {}} {
		typ := name
		if name == "csv" {
			typ = "file"
		}
		config["path"] = filepath.Join(r.dir, name)
		p["sinks"] = append(p["sinks"].([]any), obj{"name": name, "type": typ, "config": config})
	}
	r.only(p)
	first := r.run(0, "run")
	r.mustProve()
	for fault, n := range r.faults("busy listing", "busy account", "busy query", "cut usage") {
		if n == 0 {
			t.Errorf("the fault %q never happened", fault)
		}
	}
	for _, tt := range []struct {
		stream  string
		served  []any // as records show them
		columns map[string]string
		secret  []string // what of an object isn't kept
	}{
		{"logs", r.listed("/management/logs", "logs"), map[string]string{"name": "name", "source_type": "source_type", "retention_period": "retention_period"}, []string{"tokens", "token_seed"}},
		{"logsets", r.listed("/management/logsets", "logsets"), map[string]string{"name": "name", "description": "description", "rrn": "rrn"}, nil},
		{"saved_queries", r.listed("/query/saved_queries", "saved_queries"), map[string]string{"name": "name", "logs": "logs"}, nil},
		{"users", usersServed(), map[string]string{"email": "email", "first_name": "first_name", "last_name": "last_name", "login_name": "login_name"}, nil},
		{"account", []any{obj{"id": accountID, "name": "ACME & Söhne"}}, map[string]string{"name": "name"}, nil},
	} {
		t.Run(tt.stream, func(t *testing.T) {
			records := recordsOf(t, filepath.Join(root, "stream="+tt.stream, "date="+today.Format(time.DateOnly)))
			if len(tt.served) == 0 || len(records) != len(tt.served) {
				t.Fatalf("%d records, %d were served", len(records), len(tt.served))
			}
			got := map[string]obj{}
			for _, record := range records {
				got[record["id"].(string)] = record
			}
			for _, one := range tt.served {
				object := maps.Clone(one.(obj))
				for _, key := range tt.secret {
					delete(object, key)
				}
				record := got[object["id"].(string)]
				var whole obj
				if err := json.Unmarshal([]byte(asText(record["record"])), &whole); err != nil {
					t.Fatalf("%v: %v", record, err)
				}
				if diff := cmp.Diff(object, whole); diff != "" {
					t.Errorf("record (-served +kept):\n%s", diff)
				}
				for column, key := range tt.columns {
					if diff := cmp.Diff(object[key], record[column]); diff != "" {
						t.Errorf("column %s (-served +kept):\n%s", column, diff)
					}
				}
				if at, err := time.Parse(time.RFC3339Nano, asText(record["snapshot_at"])); err != nil || at.Before(today) || !at.Before(today.AddDate(0, 0, 1)) {
					t.Errorf("a snapshot at %v, want one of %s: %v", record["snapshot_at"], today, err)
				}
			}
		})
	}
	sets := recordsOf(t, filepath.Join(root, "stream=logsets"))
	if diff := cmp.Diff([]any{vendorsim.SeedWebID, vendorsim.SeedAppID}, sets[0]["log_ids"]); diff != "" || len(sets[1]["log_ids"].([]any)) != 0 {
		t.Errorf("logs of the sets: %v, %v", sets[0]["log_ids"], sets[1]["log_ids"])
	}
	queries := recordsOf(t, filepath.Join(root, "stream=saved_queries"))
	if queries[0]["statement"] != "where(/a,b/)" || queries[0]["time_range"] != "last 1 hour" || queries[1]["time_range"] != nil {
		t.Errorf("saved queries: %v", queries)
	}
	r.mustHoldFigures(root)
	for _, id := range r.logs {
		r.mustHoldLog(root, "ndjson", id, r.from, r.to)
	}

	r.run(0, "run").mustSay("nothing to do")
	if n := len(recordsOf(t, filepath.Join(root, "stream=users"))); n != 2 {
		t.Errorf("%d users after a second run", n)
	}
	status := r.statuses()[0]
	var ran pipelineSummary
	if err := json.Unmarshal(status.LastRun.Summary, &ran); err != nil {
		t.Fatal(err)
	}
	s := status.Sinks[0]
	for _, p := range s.Partitions {
		if len(p.Gaps) > 1 || len(p.Gaps) == 1 && p.Gaps[0].From != ran.To {
			t.Errorf("%s/%s lacks %v, want nothing but what came since the run's end at %s", p.Stream, p.Partition, p.Gaps, ran.To)
		}
	}
	if s.Unavailable != 3*5 { // of each snapshot stream the first millisecond of three days
		t.Errorf("unavailable %d ms, want 15", s.Unavailable)
	}
	r.mustSignAlone()
	r.mustHideAll(t, first.stdout.String()+first.stderr.String())
}

// usersServed is the list of users in the form of its JSON.
func usersServed() (out []any) {
	var o vendorsim.Options
	directoryOf(&o)
	for _, u := range o.Owner.Users {
		out = append(out, obj{"id": u.ID, "email": u.Email, "first_name": u.FirstName, "last_name": u.LastName, "login_name": u.LoginName})
	}
	return out
}

// listed asks the simulator for a list, as a client with the API key does.
func (r *rig) listed(path, key string) []any {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("X-Api-Key", secretKey)
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		r.t.Fatal(err)
	}
	var body obj
	if err := json.Unmarshal(text, &body); err != nil {
		r.t.Fatalf("%s: %v", text, err)
	}
	list, _ := body[key].([]any)
	return list
}

// recordsOf reads the NDJSON files below a folder, in the order of their names.
func recordsOf(t testing.TB, dir string) (out []obj) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			var record obj
			if err := json.Unmarshal(line, &record); err != nil {
				t.Fatalf("%s: %v: %s", path, err, line)
			}
			out = append(out, record)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func asText(v any) string {
	text, _ := v.(string)
	return text
}

// faults counts how often the simulator's rules of these names fired.
func (r *rig) faults(names ...string) map[string]int {
	fired := map[string]int{}
	for _, name := range names {
		fired[name] = 0
	}
	for _, q := range r.sim.Requests() {
		if _, ok := fired[q.Fault]; ok {
			fired[q.Fault]++
		}
	}
	return fired
}

// mustSignAlone requires that the owner's requests were signed instead of keyed, and no two by one signature.
func (r *rig) mustSignAlone() {
	r.t.Helper()
	asked := 0
	for _, q := range r.sim.Requests() {
		if !strings.HasPrefix(q.Path, "/management/accounts/") {
			continue
		}
		asked++
		if q.Key != "" {
			r.t.Errorf("%s: the API key was sent with the owner's signature", q.Path)
		}
		if !slices.Contains([]int{http.StatusOK, http.StatusInternalServerError}, q.Status) {
			r.t.Errorf("%s: %d", q.Path, q.Status)
		}
	}
	if asked < 3 {
		r.t.Errorf("%d requests of the owner, want users, the account and one again", asked)
	}
}

// mustHideAll requires that neither key is in an output or a file.
func (r *rig) mustHideAll(t *testing.T, shown string) {
	t.Helper()
	for _, key := range []string{secretKey, ownerKey, vendorsim.DemoSecretKey, vendorsim.TokenOf(vendorsim.SeedWebID)} {
		if strings.Contains(shown, key) {
			t.Errorf("a key was shown: %s...", key[:4])
		}
		if found := contains(t, r.dir, []byte(key)); len(found) > 0 {
			t.Errorf("a key is in %v", found)
		}
	}
	if n := r.sim.Stats().KeysLeaked; n > 0 {
		t.Errorf("%d requests leaked a key", n)
	}
}

// TestPreviewOfEveryKind shows records of streams by time, by the day and of now; nothing is committed.
func TestPreviewOfEveryKind(t *testing.T) {
	t.Parallel()
	clock := vendorsim.NewClock(0)
	today := seedStart.AddDate(0, 0, 3)
	clock.Freeze(today.Add(6 * time.Hour))
	r := sourcesRig(t, func(o *vendorsim.Options) {
		o.Clock, o.Query.Immediate = clock, true
		directoryOf(o)
	})
	r.env = append(r.env, "E2E_OWNER_KEY="+ownerKey)
	keys := obj{"logs": []any{vendorsim.SeedWebID}, "owner_key": "${env:E2E_OWNER_KEY}", "owner_key_id": ownerID, "account_id": accountID}
	p, root := r.pipelineOf("all", "logentries", "ndjson", keys)
	p["streams"] = []any{"events", "logs", "logsets", "saved_queries", "users", "account", "usage"}
	usage, _ := r.pipelineOf("usage", "rapid7-usage", "ndjson", obj{})
	p["range"], usage["range"] = obj{"from": r.from.Format(time.RFC3339)}, obj{"from": r.from.Format(time.RFC3339)}
	r.only(p, usage)
	closed := []string{"--from", r.from.Format(time.DateOnly), "--to", today.Format(time.DateOnly)}
	for _, tt := range []struct {
		name string
		args []string
		want int // records
		keys []string
		says string
	}{
		{"events", []string{"all", "--stream", "events"}, 3, []string{"body", "sequence_number"}, "3 records"},
		{"a snapshot", []string{"all", "--stream", "logs"}, 3, []string{"id", "record", "snapshot_at"}, "3 records, 1 request"},
		{"a short one", []string{"all", "--stream", "users"}, 2, []string{"email"}, "2 records"},
		{"of the owner", []string{"all", "--stream", "account"}, 1, []string{"name"}, "1 record"},
		{"several", []string{"all", "--stream", "account,users"}, 3, nil, "3 records, 2 requests"},
		{"usage of logentries", []string{"all", "--stream", "usage"}, 3, []string{"day", "bytes"}, "3 records"},
		{"usage", []string{"usage"}, 3, []string{"day", "bytes"}, "3 records, 1 request"},
		{"a snapshot of the past", append([]string{"all", "--stream", "users"}, closed...), 0, nil, "the range doesn't hold today's"},
		{"a day that settles", []string{"usage", "--last", "6h"}, 0, nil, "nothing of the range has settled yet: that takes 1d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := r.run(0, append([]string{"preview", "-n", "3"}, tt.args...)...)
			lines := strings.Split(strings.TrimSuffix(c.stdout.String(), "\n"), "\n")
			if c.stdout.String() == "" {
				lines = nil
			}
			if len(lines) != tt.want {
				t.Fatalf("%d records, want %d: %s", len(lines), tt.want, c.stdout.String())
			}
			for _, line := range lines {
				var record obj
				if err := json.Unmarshal([]byte(line), &record); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				for _, key := range tt.keys {
					if record[key] == nil {
						t.Errorf("no %s in %s", key, line)
					}
				}
			}
			c.mustSay(tt.says, "nothing was committed")
		})
	}
	if entries := commits(t, root); len(entries) > 0 {
		t.Errorf("a preview committed %v", entries)
	}
}
