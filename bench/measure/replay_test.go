package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReplay: an answer is made once for each question, and its JSON is counted each time, unpacked.
func TestReplay(t *testing.T) {
	asked := 0
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	entry, err := z.Create("a.json")
	if err == nil {
		_, err = entry.Write(bytes.Repeat([]byte(" "), 1000))
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	p := newReplay(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/api/v1/logs/download" {
			w.Header().Set("Content-Type", "application/zip")
			_, _ = w.Write(archive.Bytes())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Date", "of then")
		if r.URL.Path == "/query/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"body": %q}`, body)
	}))
	server := httptest.NewServer(p)
	defer server.Close()
	post := func(path, body string, status int) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != status || (answer.Header.Get("Date") == "of then") == isReplayed(r) {
			t.Fatalf("%s: %v, %s, %v", path, err, answer.Status, answer.Header)
		}
		return string(text)
	}
	for range 2 {
		if got := post("/query/logs", "one", http.StatusOK); got != `{"body": "one"}` {
			t.Error(got)
		}
	}
	post("/query/logs", "two", http.StatusOK)
	if asked != 2 {
		t.Errorf("two questions were asked %d times", asked)
	}
	post("/api/v1/logs/download", "", http.StatusOK)
	for range 2 {
		post("/query/bad", "", http.StatusTeapot)
		post("/management/logs", "", http.StatusOK)
	}
	if asked != 7 {
		t.Errorf("%d questions reached the handler: errors and what isn't replayed go there each time", asked)
	}
	v := vendor{offer: offer{ReplayURL: server.URL}}
	if n, err := v.json(context.Background()); err != nil || n != int64(3*len(`{"body": "one"}`)+1000+2*len(`{"body": ""}`)) {
		t.Errorf("%d bytes of JSON, %v", n, err)
	}
}

// TestVendor serves all forms of goods and reads them as the cases do.
func TestVendor(t *testing.T) {
	g := goods{size: 100_000, events: 50_000, records: 100, days: 1, start: day(t)}
	for _, arg := range []string{"-size=100000", "-events=50000", "-records=100", "-days=1", "-start=2026-11-01"} {
		if !strings.Contains(strings.Join(g.args(), " "), arg) {
			t.Errorf("no %s in %v", arg, g.args())
		}
	}
	if p := g.project(g.start.AddDate(0, 0, 1)); len(p.Records) < 100 || p.Generated != nil {
		t.Errorf("%d records", len(p.Records))
	}
	g.records = heldRecords + 1
	if p := g.project(g.start.AddDate(0, 0, 1)); p.Generated == nil || p.Generated.Rows != g.records {
		t.Errorf("%+v", p.Generated)
	}
	request := func(path, encoding string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		r.Header.Set("Accept-Encoding", encoding)
		return r
	}
	for path, want := range map[string]bool{"/download/logs/a": false, "/query/logs/a": true, "/api/v1/logs/download": true, "/management/logs": false} {
		if isReplayed(request(path, "")) != want {
			t.Errorf("%s is replayed: %t", path, !want)
		}
	}
	if !isReplayed(request("/download/logs/a", "deflate, gzip")) {
		t.Error("a compressed download is made each time")
	}
}

// TestReplayGzip: clients that name encodings in their own way get one answer.
func TestReplayGzip(t *testing.T) {
	asked := 0
	p := newReplay(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte("lines"))
		_ = z.Close()
	}))
	for _, encoding := range []string{"gzip", "deflate, gzip, br"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/download/logs/a", http.NoBody)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != "lines" {
			t.Errorf("%s, %v", text, err)
		}
	}
	if asked != 1 {
		t.Errorf("compressed %d times", asked)
	}
}
