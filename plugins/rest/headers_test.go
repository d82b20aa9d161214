package rest

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) // the vendor's clock, years from this machine's perhaps
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"", 0, false},
		{"0", 0, true},
		{"850", 850 * time.Second, true},
		{" 900 ", 900 * time.Second, true},
		{"1.5", 1500 * time.Millisecond, true},
		{"-5", 0, true},
		{"1793534460", 60 * time.Second, true},
		{"1793534460000", 60 * time.Second, true},
		{"1793534000", 0, true},
		{"Sun, 01 Nov 2026 12:14:00 GMT", 14 * time.Minute, true},
		{"Sun, 01 Nov 2026 11:00:00 GMT", 0, true},
		{"soon", 0, false},
		{"NaN", 0, false},
		{"999999999999999999999999", 0, true},
	}
	for _, tt := range tests {
		got, ok := retryAfter(http.Header{"Retry-After": {tt.text}}, now)
		if tt.text == "999999999999999999999999" {
			if got < bound(0) {
				t.Errorf("retryAfter(%q) = %v, want more than is believed", tt.text, got)
			}
			continue
		}
		if got != tt.want || ok != tt.ok {
			t.Errorf("retryAfter(%q) = %v, %v, want %v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestVendorBudget(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	h := http.Header{}
	for k, v := range map[string]string{
		"X-RateLimit-Limit": "150", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1793534700",
		"R7-RateLimit-LimitBytes": "75000000000", "R7-RateLimit-RemainingBytes": "none", "Retry-After": "99999999",
	} {
		h.Set(k, v)
	}
	b := vendorBudget(h, now, bound(15*time.Minute))
	switch {
	case b.LimitRequests == nil || *b.LimitRequests != 150,
		b.RemainingRequests == nil || *b.RemainingRequests != 0,
		b.LimitBytes == nil || *b.LimitBytes != 75_000_000_000,
		b.RemainingBytes != nil,
		b.Reset != 5*time.Minute,
		b.RetryAfter != 24*time.Hour:
		t.Errorf("vendor budget = %+v", b)
	}
	if b := vendorBudget(http.Header{"X-Ratelimit-Reset": {"870"}}, now, time.Hour); b.Reset != 870*time.Second || b.LimitRequests != nil {
		t.Errorf("vendor budget = %+v", b)
	}
	if got := bound(100 * time.Hour); got != 200*time.Hour {
		t.Errorf("bound = %v", got)
	}
}
