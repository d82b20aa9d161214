package rapid7

import (
	"strings"
	"testing"
)

func TestPlace(t *testing.T) {
	tests := []struct{ name, region, base, url, text, wrong, warning string }{
		{name: "a region", region: " EU ", url: "https://eu.rest.logs.insight.rapid7.com", text: "region eu"},
		{name: "legacy", region: "legacy", url: "https://rest.logentries.com", text: "region legacy"},
		{name: "a region that nobody knows", region: "me1", url: "https://me1.rest.logs.insight.rapid7.com", text: "region me1", warning: "none that the vendor documents"},
		{name: "a base URL", region: "eu", base: "https://proxy.example", url: "https://proxy.example", text: "base_url https://proxy.example"},
		{name: "plain on this machine", base: "http://127.0.0.1:8080", url: "http://127.0.0.1:8080", text: "base_url http://127.0.0.1:8080"},
		{name: "plain elsewhere", base: "http://proxy.example", url: "http://proxy.example", text: "base_url http://proxy.example", warning: "the network sees api_key"},
		{name: "nowhere", wrong: "region: is missing"},
		{name: "no part of a host name", region: "eu.evil.example/", wrong: "can't be part of a host name"},
		{name: "no URL", base: "ftp://x", wrong: "base_url:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPlace(tt.region, tt.base)
			err := p.Validate()
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("error %v, want %q", err, tt.wrong)
				}
				return
			}
			if err != nil || p.URL() != tt.url || p.String() != tt.text {
				t.Errorf("%v: %s, %s; want %s, %s", err, p.URL(), p, tt.url, tt.text)
			}
			if got := strings.Join(p.Warnings(), "; "); (got == "") != (tt.warning == "") || !strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

func TestCheckKey(t *testing.T) {
	for _, bad := range []string{"", "two words", "line\nbreak", "ключ"} {
		err := CheckKey("api_key", bad)
		if err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := CheckKey("api_key", "5ca1ab1e-0000-4000-8000-000000000001"); err != nil {
		t.Error(err)
	}
}

func TestNotFoundHints(t *testing.T) {
	eu, own := NewPlace("eu", ""), NewPlace("", "https://proxy.example")
	tests := []struct{ got, want string }{
		{eu.NotFound(""), "api_key is wrong, or it doesn't belong to region eu: the vendor answers both alike"},
		{eu.NotFound("it is gone"), "it is gone, or it isn't in region eu, or api_key is wrong: the vendor answers all three alike"},
		{own.NotFound("it is gone"), "it is gone, or it isn't at base_url https://proxy.example, or api_key is wrong: the vendor answers all three alike"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
