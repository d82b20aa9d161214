package toxiproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A proxy passes on, loses what it is told to lose, and passes on again after Heal, at the same address.
func TestProxy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer server.Close()
	p := Start(t).Proxy(t, strings.TrimPrefix(server.URL, "http://"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	get := func() error {
		res, err := client.Get("http://" + p.Address)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(){
		"cut":   func() { p.Cut(t) },
		"reset": func() { p.Poison(t, Toxic{Type: "reset_peer", Attributes: map[string]any{"timeout": 0}}) },
	} {
		if harm(); get() == nil {
			t.Errorf("%s: an answer came through", name)
		}
		p.Heal(t)
		if err := get(); err != nil {
			t.Errorf("%s, then healed: %v", name, err)
		}
	}
}
