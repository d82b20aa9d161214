package sending

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sluice-io/sluice/proto/fault"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "Sun, 01 Nov 2026 10:00:09 GMT": 9 * time.Second, "Sun, 01 Nov 2026 09:00:00 GMT": 0,
		"2000000000": 24 * time.Hour, "Sun, 01 Nov 2099 10:00:00 GMT": 24 * time.Hour,
	} {
		if got, ok := RetryAfter(text, now); !ok || got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "soon", "-1", "1.5", "99999999999999999999"} {
		if got, ok := RetryAfter(text, now); ok {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestPatiently(t *testing.T) {
	busy := func(after time.Duration) error {
		return fault.New(fault.Throttled, "send", "", errors.New("busy")).After(after)
	}
	for _, tt := range []struct {
		name   string
		errs   []error // one after another, the last for good
		sent   int
		took   time.Duration
		failed bool
	}{
		{"at once", []error{nil}, 1, 0, false},
		{"another error", []error{fault.New(fault.Transient, "send", "", errors.New("down"))}, 1, 0, true},
		{"twice busy", []error{busy(0), busy(0), nil}, 3, 750 * time.Millisecond, false},
		{"says when", []error{busy(time.Second), nil}, 2, time.Second, false},
		{"soon", []error{busy(time.Millisecond), nil}, 2, time.Millisecond, false},
		{"too late", []error{busy(31 * time.Second), nil}, 1, 0, true},
		{"too often", []error{busy(16 * time.Second)}, 2, 16 * time.Second, true},
		{"always", []error{busy(0)}, 10, 27750 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent, began := 0, time.Now()
				_, err := Patiently(t.Context(), &Busy{}, func() (int, error) {
					err := tt.errs[min(sent, len(tt.errs)-1)]
					sent++
					return sent, err
				})
				if took := time.Since(began); (err != nil) != tt.failed || sent != tt.sent || took != tt.took {
					t.Errorf("%v after %s, sent %d times, want %d in %s", err, took, sent, tt.sent, tt.took)
				}
			})
		})
	}
}

func TestPatientlyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := Patiently(ctx, &Busy{}, func() (int, error) {
			return 0, fault.New(fault.Throttled, "send", "", errors.New("busy")).After(10 * time.Second)
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestBusy is told of once a minute, and not of a moment.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := &Busy{Log: slog.New(slog.NewTextHandler(&out, nil))}
		err := fault.New(fault.Throttled, "send", "look there", errors.New("full"))
		b.Tell(250*time.Millisecond, 250*time.Millisecond, err)
		if out.Len() > 0 {
			t.Errorf("told at once: %s", out.String())
		}
		for range 10 {
			b.Tell(2*time.Second, time.Second, err)
		}
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "after=1s error=\"send: full\" hint=\"look there\"") {
			t.Errorf("told %s", got)
		}
		time.Sleep(time.Minute)
		b.Tell(2*time.Second, time.Second, err)
		if got := out.String(); strings.Count(got, "\n") != 2 {
			t.Errorf("told %s", got)
		}
	})
}

// TestClient follows no redirect, and unpacks nothing.
func TestClient(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		if body, err := io.ReadAll(z); err != nil || string(body) != "body" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%q, %v, accepts %q", body, err, r.Header.Get("Accept-Encoding"))
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c := Client(nil)
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(Pack([]byte("body"))))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || asked != 1 {
		t.Errorf("%s after %d requests", resp.Status, asked)
	}
}
