package elsa

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The vectors were computed by another implementation.
func TestSignature(t *testing.T) {
	const access, secret, stamp = "ncpAccessKeyEXAMPLE1", "ncpSecretKeyEXAMPLE0123456789abcdefABCDEF", "1381190400000"
	const fields = "/api/v1/fields?projectKey=Pbxxxxx_elsa-test&projectId=8171&from=1381190400000&to=1381190400000"
	tests := []struct{ name, method, target, want string }{
		{"E1", "POST", "/api/v1/logs/download", "Jbdb25iMyIrlXlCTAfSkXl1DJocYzT7aAI83/0HhV88="},
		{"E2", "POST", "/api/v1/logs/search", "EGR8EjChq92VhTouJaOP7ofEtS3LUsXtPZzZhXSFLd8="},
		{"E3 with a query", "GET", fields, "4NIoktAhJz0v/PcQxyvi8jeR1v4mfgsuzBjaGhsuHfw="},
		{"E4 without the query", "GET", "/api/v1/fields", "JLo579DQVhCoDPdV8kKhFW3mPuFRwCcqr+q0sQU5G6Q="},
	}
	seen := map[string]string{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := signature(tt.method, tt.target, stamp, access, secret); got != tt.want {
				t.Errorf("signature = %s, want %s", got, tt.want)
			}
			ms, err := strconv.ParseInt(stamp, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{"", `{"projectKey": "a"}`} { // the body is no part of it
				r := httptest.NewRequest(tt.method, "https://elsa.apigw.ntruss.com"+tt.target, strings.NewReader(body))
				sign(r, time.UnixMilli(ms), access, secret)
				want := http.Header{headerTimestamp: {stamp}, headerAccessKey: {access}, headerSignature: {tt.want}}
				for name := range want {
					if r.Header.Get(name) != want.Get(name) {
						t.Errorf("%s = %q, want %q", name, r.Header.Get(name), want.Get(name))
					}
				}
			}
			if other := seen[tt.want]; other != "" {
				t.Errorf("the same signature as %s", other)
			}
			seen[tt.want] = tt.name
		})
	}
}

// TestTheSignatureIsNotShown lets a vendor echo what a request came with, with a bad status and with a good one.
func TestTheSignatureIsNotShown(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusOK} {
		var seen []string
		vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header.Get(headerSignature))
			w.WriteHeader(status)
			_ = r.Header.Write(w)
		}))
		defer vendor.Close()
		s := newSource(t, simSettings(vendor.URL))
		_, err := s.client.download(t.Context(), s.client.settings.Projects[0], 0, 1, nil)
		_, fields := s.client.fields(t.Context(), s.client.settings.Projects[0], firstDay, firstDay)
		shown := fmt.Sprint(err, fields)
		if len(seen) != 2 || !strings.Contains(shown, headerSignature+": ***") {
			t.Fatalf("%d requests; %s", len(seen), shown)
		}
		for _, signed := range seen {
			if signed == "" || strings.Contains(shown, signed) {
				t.Errorf("the signature %q is in %s", signed, shown)
			}
		}
	}
}
