package vendorsim

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// faulty starts a simulator with one fault for each download and returns the URL of all lines and those lines.
func faulty(t *testing.T, f Fault) (sim *Sim, url, whole string) {
	t.Helper()
	sim, base := start(t, Options{})
	url = base + "/download/logs/one?" + rangeQuery(day, day.Add(time.Hour)) + everything
	_, whole = mustGet(t, url)
	if err := sim.SetFaults(Script{Rules: []Rule{{Fault: f}}}); err != nil {
		t.Fatal(err)
	}
	return sim, url, whole
}

func TestStatusFaults(t *testing.T) {
	tests := []struct {
		name                      string
		fault                     Fault
		status                    int
		contentType, retry, exact string
	}{
		{"throttled without Retry-After", Fault{Status: 429}, 429, "text/plain", "", "API rate limit exceeded"},
		{"throttled", Fault{Status: 429, RetryAfter: "7"}, 429, "text/plain", "7", "API rate limit exceeded"},
		{"server error", Fault{Status: 503}, 503, "application/json", "", `{"message":"HTTP Service Unavailable"}`},
		{"own body", Fault{Status: 502, Body: "<html>bad gateway", Header: map[string]string{"X-A": "b"}}, 502, "text/plain; charset=UTF-8", "", "<html>bad gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, url, _ := faulty(t, tt.fault)
			resp, body := mustGet(t, url)
			if resp.StatusCode != tt.status || body != tt.exact || resp.Header.Get("Retry-After") != tt.retry || resp.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
			}
			for k, v := range tt.fault.Header {
				if resp.Header.Get(k) != v {
					t.Errorf("header %s: %q, want %q", k, resp.Header.Get(k), v)
				}
			}
		})
	}
}

func TestBodyFaults(t *testing.T) {
	const line = len("line 0\n")
	tests := []struct {
		name  string
		fault Fault
		bytes int // of the whole body; -1: all
		err   error
		done  bool // Request.Complete
	}{
		{"none", Fault{}, -1, nil, true},
		{"cut", Fault{CutAfter: At(10)}, 10, io.ErrUnexpectedEOF, false},
		{"cut after the headers", Fault{CutAfter: At(0)}, 0, io.ErrUnexpectedEOF, false},
		{"no final chunk", Fault{CutAfter: At(1 << 40)}, -1, io.ErrUnexpectedEOF, false},
		{"reset", Fault{CutAfter: At(10), Reset: true}, -2, syscall.ECONNRESET, false},
		{"early clean end", Fault{EndAfter: At(int64(line) + 3)}, line, nil, true},
		{"early clean end without a line", Fault{EndAfter: At(3)}, 0, nil, true},
		{"delay", Fault{Delay: 30 * time.Millisecond}, -1, nil, true},
		{"drip", Fault{Rate: 1000}, -1, nil, true},
		{"short stall", Fault{StallAfter: At(5), StallFor: 30 * time.Millisecond}, -1, nil, true},
		{"stall at the end, then cut", Fault{StallAfter: At(1 << 40), StallFor: 30 * time.Millisecond, CutAfter: At(1 << 40)}, -1, io.ErrUnexpectedEOF, false},
		{"ended by closing", Fault{Framing: "close"}, -1, nil, false},
		{"content length", Fault{Framing: "length"}, -1, nil, true},
		{"content length, cut", Fault{Framing: "length", CutAfter: At(20)}, 20, io.ErrUnexpectedEOF, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim, url, whole := faulty(t, tt.fault)
			began := time.Now()
			resp, body, err := get(t, url)
			took := time.Since(began)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			want := whole
			if tt.bytes >= 0 {
				want = whole[:tt.bytes]
			}
			if tt.bytes != -2 && string(body) != want { // a reset may lose what was on its way
				t.Errorf("body %q, want %q", body, want)
			}
			if least := tt.fault.Delay + tt.fault.StallFor; took < least {
				t.Errorf("took %s, want at least %s", took, least)
			}
			if tt.fault.Rate > 0 && took < 80*time.Millisecond {
				t.Errorf("%d bytes at %d a second took only %s", len(whole), tt.fault.Rate, took)
			}
			chunked := resp != nil && len(resp.TransferEncoding) == 1
			if resp != nil && chunked != (tt.fault.Framing == "") {
				t.Errorf("transfer encoding %v with framing %q", resp.TransferEncoding, tt.fault.Framing)
			}
			waitFor(t, func() bool { return len(sim.Requests()) == 2 })
			if r := sim.Requests()[1]; r.Complete != tt.done || r.Fault != "rule 1" {
				t.Errorf("request %+v, want complete %t", r, tt.done)
			}
		})
	}
}

func TestGzipFaults(t *testing.T) {
	for _, tt := range []struct {
		how  string
		want error
	}{{"checksum", gzip.ErrChecksum}, {"truncated", io.ErrUnexpectedEOF}, {"garbage", nil}, {"plain", gzip.ErrHeader}} {
		t.Run(tt.how, func(t *testing.T) {
			_, url, _ := faulty(t, Fault{Gzip: tt.how})
			resp, body := mustGet(t, url)
			if resp.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("headers %v", resp.Header)
			}
			r, err := gzip.NewReader(strings.NewReader(body))
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// Stalls and holds end when the client leaves, when a test releases them and when the simulator closes.
func TestEndlessStallEnds(t *testing.T) {
	t.Run("client leaves", func(t *testing.T) {
		sim, url, _ := faulty(t, Fault{StallAfter: At(5)})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", DemoKey)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); len(body) != 5 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read %q, %v", body, err)
		}
		waitFor(t, func() bool { return len(sim.Requests()) == 2 })
	})
	t.Run("released", func(t *testing.T) {
		release := make(chan struct{})
		sim, url, whole := faulty(t, Fault{Hold: release, StallAfter: At(5), Release: release})
		go func() {
			for len(sim.Active()) == 0 {
				time.Sleep(time.Millisecond)
			}
			close(release)
		}()
		if _, body := mustGet(t, url); body != whole {
			t.Errorf("body %q, want %q", body, whole)
		}
	})
	t.Run("closed", func(t *testing.T) {
		sim, url, _ := faulty(t, Fault{StallAfter: At(5)})
		go func() {
			for len(sim.Active()) == 0 {
				time.Sleep(time.Millisecond)
			}
			_ = sim.Close()
		}()
		if _, body, err := get(t, url); err == nil {
			t.Errorf("read %q to a clean end", body)
		}
	})
}

func TestRedirectShowsWhoFollowsWithTheKey(t *testing.T) {
	sim, url, _ := faulty(t, Fault{Redirect: "trap"})
	resp, _ := mustGet(t, url)
	if resp.StatusCode != http.StatusFound || sim.Stats().Trapped != 0 {
		t.Fatalf("status %d, stats %+v", resp.StatusCode, sim.Stats())
	}
	target := resp.Header.Get("Location")
	mustGet(t, target, "X-Api-Key", "")
	if s := sim.Stats(); s.Trapped != 1 || s.KeysLeaked != 0 {
		t.Errorf("without the key: %+v", s)
	}
	mustGet(t, target)
	if s := sim.Stats(); s.Trapped != 2 || s.KeysLeaked != 1 {
		t.Errorf("with the key: %+v", s)
	}
}

func TestRulesChoose(t *testing.T) {
	fires := func(rules ...Rule) string {
		sim, base := start(t, Options{Faults: Script{Seed: 3, Rules: rules}})
		var got []string
		for range 8 {
			mustGet(t, base+"/download/logs/one?from=0")
		}
		mustGet(t, base+"/download/logs/two?from=0")
		mustGet(t, base+"/management/logs")
		mustGet(t, base+"/")
		for _, r := range sim.Requests() {
			if r.Fault == "" {
				got = append(got, ".")
			} else {
				got = append(got, r.Fault)
			}
		}
		return strings.Join(got, "")
	}
	busy := Fault{Status: 503}
	tests := []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"always", []Rule{{Name: "a", Fault: busy}}, "aaaaaaaaa.."},
		{"nth", []Rule{{Name: "a", Nth: []int{2, 9}, Fault: busy}}, ".a......a.."},
		{"every", []Rule{{Name: "a", Every: 3, Times: 2, Fault: busy}}, "..a..a....."},
		{"log by name", []Rule{{Name: "a", Log: "first log", Fault: busy}}, "aaaaaaaa..."},
		{"log by ID", []Rule{{Name: "a", Log: "TWO", Fault: busy}}, "........a.."},
		{"path", []Rule{{Name: "a", Path: "/management", Fault: busy}}, ".........a."},
		{"all paths", []Rule{{Name: "a", Path: "/", Fault: busy}}, "aaaaaaaaaaa"},
		{"in order", []Rule{{Name: "a", Nth: []int{1}, Fault: busy}, {Name: "b", Times: 2, Fault: busy}}, "abb........"},
		{"function", []Rule{{Name: "a", When: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "two") }, Fault: busy}}, "........a.."},
		{"chance", []Rule{{Name: "a", Probability: 0.5, Fault: busy}}, fires(Rule{Name: "a", Probability: 0.5, Fault: busy})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fires(tt.rules...); got != tt.want {
				t.Errorf("fired %s, want %s", got, tt.want)
			}
		})
	}
	if got := fires(Rule{Name: "a", Probability: 0.5, Fault: busy}); !strings.Contains(got, "a") || strings.Count(got, "a") > 8 {
		t.Errorf("a chance of one half fired %s", got)
	}
}

func TestReadScript(t *testing.T) {
	// The example of the package comment.
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), `{"seed": 7`)
	example, _, _ := strings.Cut(`{"seed": 7`+rest, "]}\n")
	script, err := ReadScript(strings.NewReader(strings.ReplaceAll(example+"]}", "//", "")))
	if err != nil {
		t.Fatal(err)
	}
	if len(script.Rules) != 9 || script.Rules[3].Fault.StallFor != 2*time.Second || *script.Rules[2].Fault.CutAfter != 100000 {
		t.Errorf("script %+v", script)
	}
	text, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadScript(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	ignoreFuncs := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".When" }, cmp.Ignore())
	if diff := cmp.Diff(script, again, ignoreFuncs); diff != "" {
		t.Errorf("after a round trip (-want +got):\n%s", diff)
	}

	bad, err := filepath.Glob("testdata/scripts/*.json")
	if err != nil || len(bad) == 0 {
		t.Fatalf("no bad scripts: %v", err)
	}
	for _, path := range bad {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := ReadScript(f); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(string(want))) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}
