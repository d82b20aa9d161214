package vendorsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

type queryAnswer struct {
	ID       string
	Progress int
	Events   []struct {
		Timestamp int64
		Sequence  string `json:"sequence_number_str"`
		Message   string
		Labels    []struct{ ID string }
	}
	Links []struct{ Rel, Href string }
}

func (a queryAnswer) link(rel string) string {
	for _, l := range a.Links {
		if strings.EqualFold(l.Rel, rel) {
			return l.Href
		}
	}
	return ""
}

// ask sends a request with the key and returns its status and answer.
func ask(t *testing.T, method, url, body string) (int, queryAnswer) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", DemoKey)
	if body != "" {
		r.Header.Set("Content-Type", jsonType)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a queryAnswer
	if strings.HasPrefix(resp.Header.Get("Content-Type"), jsonType) {
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return resp.StatusCode, a
}

func TestQueryPages(t *testing.T) {
	sim, base := start(t, Options{Query: QueryOptions{Polls: 1, Partial: true}, Labels: []Label{{ID: "l", Word: "ERR"}}})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	url := base + "/query/logs/ONE?per_page=4&" + rangeQuery(day, day.Add(time.Hour))
	var got []string
	for pages := 1; url != ""; pages++ {
		status, a := ask(t, http.MethodGet, url, "")
		if status != http.StatusAccepted || len(a.Events) != 0 || a.link("next") != "" || !strings.HasSuffix(a.link("self"), ":") {
			t.Fatalf("start: %d, %+v", status, a)
		}
		first := a.link("self")
		status, a = ask(t, http.MethodGet, first, "")
		if status != http.StatusOK || a.link("self") == "" || a.link("self") == first || len(a.Events) == 0 && pages < 3 {
			t.Fatalf("first poll: %d, %+v", status, a)
		}
		if status, _ := ask(t, http.MethodGet, first, ""); status != http.StatusNotFound {
			t.Errorf("an old link answers %d", status)
		}
		if _, a = ask(t, http.MethodGet, a.link("self"), ""); a.link("self") != "" {
			t.Fatalf("second poll: %+v", a)
		}
		for _, e := range a.Events {
			got = append(got, e.Message)
			if labelled := len(e.Labels) == 1; labelled != strings.Contains(e.Message, "ERR") {
				t.Errorf("%s: labels %v", e.Message, e.Labels)
			}
		}
		url = a.link("next")
	}
	if want := collect(sim, "one", day, day.Add(time.Hour)); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := sim.Stats().Budgeted; n != 3+9 {
		t.Errorf("%d requests were counted", n)
	}
}

func TestQueryByBody(t *testing.T) {
	_, base := start(t, Options{Query: QueryOptions{Immediate: true}})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	from := strconv.FormatInt(day.UnixMilli(), 10)
	to := strconv.FormatInt(day.Add(time.Hour).UnixMilli(), 10)
	status, a := ask(t, http.MethodPost, base+"/query/logs",
		`{"logs":["one","two"],"leql":{"statement":"where(error)","during":{"from":`+from+`,"to":`+to+`}}}`)
	if status != http.StatusOK || len(a.Events) != 3 || a.Events[0].Message != "line 1 ERRor seen" || a.Events[0].Sequence != "3237201778429120513" {
		t.Errorf("%d, %+v", status, a)
	}
	for _, bad := range []string{
		"/query/logs/one?from=1", "/query/logs/one?per_page=501&from=1&to=2", "/query/logs/one?from=1&to=2&time_range=today",
		"/query/logs/one?from=1&to=2&query=where(x)calculate(count)", "/query/logs/one?from=1&to=2&sequence_number=x",
	} {
		if status, _ := ask(t, http.MethodGet, base+bad, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
	for _, unknown := range []string{"/query/logs/three?from=1&to=2", "/query/unknown:", "/query/logsets/x?from=1&to=2"} {
		if status, _ := ask(t, http.MethodGet, base+unknown, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", unknown, status)
		}
	}
}

func TestQueryLinksExpire(t *testing.T) {
	clock := frozen(day.AddDate(0, 0, 10))
	sim, base := start(t, Options{Clock: clock})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{19 * time.Second, http.StatusOK}, {21 * time.Second, http.StatusNotFound}} {
		_, a := ask(t, http.MethodGet, base+"/query/logs/one?"+rangeQuery(day, day.Add(time.Hour)), "")
		sim.Clock().Elapse(tt.after)
		if status, _ := ask(t, http.MethodGet, a.link("self"), ""); status != tt.want {
			t.Errorf("after %v: %d", tt.after, status)
		}
	}
}

func TestQueryBudgets(t *testing.T) {
	sim, base := start(t, Options{Queries: Budget{Requests: 2}, Polls: Budget{Requests: 1}})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	url := base + "/query/logs/one?" + rangeQuery(day, day.Add(time.Hour))
	_, a := ask(t, http.MethodGet, url, "")
	_, b := ask(t, http.MethodGet, url, "")
	for i, want := range []struct {
		url    string
		status int
	}{{url, 429}, {a.link("self"), 200}, {b.link("self"), 429}, {base + "/management/logs", 200}} {
		if status, _ := ask(t, http.MethodGet, want.url, ""); status != want.status {
			t.Errorf("request %d: %d, want %d", i, status, want.status)
		}
	}
	if n := sim.Stats().Beyond; n != 2 {
		t.Errorf("%d requests beyond the budget", n)
	}
}

func TestOwnerSignature(t *testing.T) {
	_, base := start(t, Options{Owner: Owner{
		Account: "91234567-aaaa-bbbb-1234-1234cb12345a", KeyID: "12345678-aaaa-bbbb-1234-1234cb12345b", Key: "12345678-aaaa-bbbb-1234-1234cb12345c",
	}})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	const users = "/management/accounts/91234567-aaaa-bbbb-1234-1234cb12345a/users"
	for _, tt := range []struct {
		name, path, signature string
		want                  int
	}{
		{"right", users, "KSwLvM3w8vIN+BSKR4vC2C//1VA=", 200},
		{"a query isn't signed", users + "?a=b", "KSwLvM3w8vIN+BSKR4vC2C//1VA=", 200},
		{"signed with a slash in front", users, "XUgVrnRQMibT82p3bOvgyxEjX14=", 403},
		{"signed without a content type", users, "XBVPezinH7+03EE0LMjgg8PrRMI=", 403},
		{"the sample's signature of nothing", users, "e6x+rePXxZbR8see1w3M/kNPJj0=", 403},
		{"another path", strings.TrimSuffix(users, "/users"), "KSwLvM3w8vIN+BSKR4vC2C//1VA=", 403},
	} {
		r, err := http.NewRequest(http.MethodGet, base+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Date", "Mon, 02 Jan 2017 15:04:05 GMT")
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("Authorization-Api-Key", "12345678-aaaa-bbbb-1234-1234cb12345b:"+tt.signature)
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
}
