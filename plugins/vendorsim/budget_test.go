package vendorsim

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	const window = 10 * time.Second
	type step struct {
		at    time.Duration
		serve int64 // bytes; 0: a request
		admit bool
		retry time.Duration // afterwards
	}
	tests := []struct {
		name   string
		budget Budget
		steps  []step
	}{
		{"sliding", Budget{Requests: 2, Bytes: 100}, []step{
			{at: 0, admit: true},
			{at: 6 * time.Second, admit: true, retry: 4 * time.Second},
			{at: 9 * time.Second, retry: time.Second},
			{at: 10*time.Second - 1, retry: 1},
			{at: 10 * time.Second, admit: true, retry: 6 * time.Second},
			{at: 15 * time.Second, retry: time.Second},
		}},
		{"fixed", Budget{Requests: 2, Bytes: 100, Fixed: true}, []step{
			{at: 8 * time.Second, admit: true},
			{at: 9 * time.Second, admit: true, retry: time.Second},
			{at: 9 * time.Second, retry: time.Second},
			{at: 10 * time.Second, admit: true},
			{at: 11 * time.Second, admit: true, retry: 9 * time.Second},
		}},
		{"bytes", Budget{Requests: 9, Bytes: 100}, []step{
			{at: 0, admit: true},
			{at: time.Second, serve: 60},
			{at: 3 * time.Second, serve: 60, retry: 8 * time.Second},
			{at: 4 * time.Second, retry: 7 * time.Second},
			{at: 11 * time.Second, admit: true},
		}},
		{"bytes, fixed", Budget{Requests: 9, Bytes: 100, Fixed: true}, []step{
			{at: 3 * time.Second, admit: true},
			{at: 4 * time.Second, serve: 100, retry: 6 * time.Second},
			{at: 5 * time.Second, retry: 5 * time.Second},
			{at: 10 * time.Second, admit: true},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var now time.Duration
			tt.budget.Window = window
			m := &meter{budget: tt.budget, mono: func() time.Duration { return now }}
			for i, s := range tt.steps {
				now = s.at
				if s.serve > 0 {
					m.serve(s.serve)
				} else if got := m.admit(); got != s.admit {
					t.Fatalf("step %d at %s: admitted %t", i, now, got)
				}
				if got := m.standing().retry; got != s.retry {
					t.Errorf("step %d at %s: retry in %s, want %s", i, now, got, s.retry)
				}
			}
		})
	}
}

func TestBudgetAnswers(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name              string
		opts              Options
		retry, resetOn429 string
	}{
		{"seconds", Options{}, "900", "900"},
		{"date", Options{RetryAfter: RetryDate}, "Fri, 20 Nov 2026 00:15:00 GMT", "900"},
		{"none", Options{RetryAfter: RetryNone}, "", "900"},
		{"epoch", Options{Reset: ResetEpoch}, "900", strconv.FormatInt(at.Unix()+900, 10)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Clock = frozen(at)
			tt.opts.Keys = []string{DemoKey, "other"}
			tt.opts.Download = Budget{Requests: 2}
			sim, base := start(t, tt.opts)
			url := base + "/download/logs/one?from=0"
			mustGet(t, url)
			mustGet(t, base+"/management/logs") // a namespace of its own
			mustGet(t, url, "X-Api-Key", "other")
			mustGet(t, url+"&limit=0") // a bad request counts too
			resp, body := mustGet(t, url)
			h := resp.Header
			if resp.StatusCode != http.StatusTooManyRequests || body != "API rate limit exceeded" || h.Get("Content-Type") != "text/plain" ||
				h.Get("Retry-After") != tt.retry || h.Get("X-RateLimit-Reset") != tt.resetOn429 || h.Get("X-RateLimit-Remaining") != "0" {
				t.Errorf("got %d %q %v", resp.StatusCode, body, h)
			}
			if s := sim.Stats(); s.Beyond != 1 || s.Budgeted != 4 {
				t.Errorf("stats %+v, want 4 requests and 1 beyond", s)
			}
			if got := sim.MaxRequests(DemoKey, 15*time.Minute); got != 3 {
				t.Errorf("MaxRequests %d, want 3", got)
			}
			// A wall clock that jumps doesn't end a window; time that passes does.
			sim.Clock().Jump(24 * time.Hour)
			if resp, _ := mustGet(t, url); resp.StatusCode != http.StatusTooManyRequests {
				t.Errorf("after a jump of the wall clock: %d", resp.StatusCode)
			}
			sim.Clock().Elapse(15 * time.Minute)
			if resp, _ := mustGet(t, url); resp.StatusCode != http.StatusOK {
				t.Errorf("after a window: %d", resp.StatusCode)
			}
		})
	}
}

func TestByteBudget(t *testing.T) {
	sim, base := start(t, Options{Download: Budget{Bytes: 60}})
	url := base + "/download/logs/one?from=0" + everything
	if _, body := mustGet(t, url); len(body) != 103 {
		t.Fatalf("an answer that has begun is served whole, got %d bytes", len(body))
	}
	resp, _ := mustGet(t, url)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("R7-RateLimit-RemainingBytes") != "0" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	if s := sim.Stats(); s.BytesBeyond != 43 || s.Beyond != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestConcurrentRequestsAreCounted(t *testing.T) {
	hold := make(chan struct{})
	sim, base := start(t, Options{
		Download: Budget{Requests: 6},
		Faults:   Script{Rules: []Rule{{Fault: Fault{StallAfter: At(0), Release: hold}}}},
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := get(t, base+"/download/logs/one?from=0"); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, func() bool { return len(sim.Requests()) == 2 && sim.Stats().MaxConcurrent == 6 })
	close(hold)
	wg.Wait()
	waitFor(t, func() bool { return sim.Stats().Active == 0 })
	if s := sim.Stats(); s.Beyond != 2 || s.Budgeted != 6 || s.Requests != 8 {
		t.Errorf("stats %+v", s)
	}
}

func TestRequestLogIsBounded(t *testing.T) {
	seen := 0
	sim, base := start(t, Options{RequestLog: 10, Observe: func(Request) { seen++ }})
	for range 25 {
		mustGet(t, base+"/")
	}
	requests := sim.Requests()
	if len(requests) > 10 || requests[len(requests)-1].Number != 25 || seen != 25 {
		t.Errorf("%d requests kept, %d observed", len(requests), seen)
	}
}
