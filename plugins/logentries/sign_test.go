package logentries

import (
	"net/http"
	"testing"
	"time"
)

func TestSign(t *testing.T) {
	const (
		key  = "12345678-aaaa-bbbb-1234-1234cb12345c"
		path = "management/accounts/91234567-aaaa-bbbb-1234-1234cb12345a/users"
		v0   = "e6x+rePXxZbR8see1w3M/kNPJj0=" // a MAC over nothing, as the vendor's sample makes it
	)
	date := time.Date(2017, 1, 2, 15, 4, 5, 0, time.UTC)
	tests := []struct {
		name, key, method, contentType, date, path, body string
		want, never                                      string
	}{
		{"V1 GET without a body", key, "GET", contentType, "Mon, 02 Jan 2017 15:04:05 GMT", path, "", "KSwLvM3w8vIN+BSKR4vC2C//1VA=", v0},
		{
			"V2 POST", key, "POST", contentType, "Mon, 02 Jan 2017 15:04:05 GMT", path,
			`{"user":{"email":"john@example.com","first_name":"John","last_name":"Smith"}}`, "K1E81DZuWR5T0U+mzKcq66i4uMw=", v0,
		},
		{"V3 a slash in front", key, "GET", contentType, "Mon, 02 Jan 2017 15:04:05 GMT", "/" + path, "", "XUgVrnRQMibT82p3bOvgyxEjX14=", "KSwLvM3w8vIN+BSKR4vC2C//1VA="},
		{"V4 without content type", key, "GET", "", "Mon, 02 Jan 2017 15:04:05 GMT", path, "", "XBVPezinH7+03EE0LMjgg8PrRMI=", v0},
		{
			"V5 another key", "7f7c461f-2e71-4d50-8cdf-06c11ee67789", "GET", contentType, "Thu, 17 Aug 2017 20:16:24 GMT",
			"management/accounts/de305d54-75b4-431b-adb2-eb6b9e546014", "", "KrbQUM4odYud5jRIABUWBXm1N40=", "FONdwjmWhQ/z+8O0eOZqvlLxo2M=",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := sign(tt.key, tt.method, tt.contentType, tt.date, tt.path, []byte(tt.body))
			if got != tt.want || got == tt.never {
				t.Errorf("got %s, want %s, never %s", got, tt.want, tt.never)
			}
		})
	}
	// What a request carries is V1, however the path came: slashes and a query aren't signed.
	s := settings{OwnerKey: key, OwnerKeyID: "12345678-aaaa-bbbb-1234-1234cb12345b"}
	for _, form := range []string{path, path + "/", path + "?from=1", path + "/?from=1"} {
		r, err := http.NewRequest(http.MethodGet, "https://rest.logentries.com/"+form, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.signOwner(r, date.In(time.FixedZone("", 3600)))
		if got, want := r.Header.Get("Authorization-Api-Key"), s.OwnerKeyID+":KSwLvM3w8vIN+BSKR4vC2C//1VA="; got != want {
			t.Errorf("%s: %s, want %s", form, got, want)
		}
		if got := r.Header.Get("Date"); got != "Mon, 02 Jan 2017 15:04:05 GMT" || r.Header.Get("Content-Type") != contentType {
			t.Errorf("header %v", r.Header)
		}
	}
}
