package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// gcsFake answers as Google's JSON interface is documented to. It is a simulation: the service itself has not been asked.
type gcsFake struct {
	mu       sync.Mutex
	objects  map[string][]byte
	sessions map[string]*gcsSession
	url      string
	deny     int // answers every request with this status, if not 0
}

type gcsSession struct {
	name string
	b    []byte
}

func (f *gcsFake) refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": message}})
}

func (f *gcsFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	q := r.URL.Query()
	name, isObject := strings.CutPrefix(r.URL.EscapedPath(), "/storage/v1/b/lake/o/")
	name, _ = url.PathUnescape(name)
	switch {
	case f.deny != 0:
		f.refuse(w, f.deny, "denied")
	case strings.HasPrefix(r.URL.Path, "/session/"):
		f.resume(w, r, body)
	case r.URL.Path == "/upload/storage/v1/b/lake/o":
		if q.Get("ifGenerationMatch") != "0" {
			f.refuse(w, http.StatusBadRequest, "the condition is missing")
		} else if q.Get("uploadType") == "resumable" {
			id := "/session/" + strconv.Itoa(len(f.sessions))
			f.sessions[id] = &gcsSession{name: q.Get("name")}
			w.Header().Set("Location", f.url+id)
		} else {
			f.put(w, q.Get("name"), body)
		}
	case isObject && r.Method == http.MethodGet && q.Get("alt") == "media":
		if b, ok := f.objects[name]; ok {
			_, _ = w.Write(b)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, "No such object: lake/%s", name)
	case isObject && r.Method == http.MethodDelete:
		if _, ok := f.objects[name]; !ok {
			f.refuse(w, http.StatusNotFound, "No such object: lake/"+name)
			return
		}
		delete(f.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Path == "/storage/v1/b/lake/o":
		f.list(w, q)
	default:
		f.refuse(w, http.StatusNotFound, "The specified bucket does not exist.")
	}
}

func (f *gcsFake) put(w http.ResponseWriter, name string, b []byte) {
	if _, taken := f.objects[name]; taken {
		f.refuse(w, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
		return
	}
	f.objects[name] = b
	_, _ = w.Write([]byte("{}"))
}

// resume takes a piece of a session, which must follow the last one and be a multiple of 256 KiB unless it is the end.
func (f *gcsFake) resume(w http.ResponseWriter, r *http.Request, body []byte) {
	s := f.sessions[r.URL.Path]
	if r.Method == http.MethodDelete || s == nil {
		delete(f.sessions, r.URL.Path)
		w.WriteHeader(499)
		return
	}
	var from, to int
	span, total, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "/")
	if span != "*" {
		if _, err := fmt.Sscanf(span, "%d-%d", &from, &to); err != nil || from != len(s.b) || to-from+1 != len(body) {
			f.refuse(w, http.StatusBadRequest, "range "+span)
			return
		}
	}
	s.b = append(s.b, body...)
	switch {
	case total == strconv.Itoa(len(s.b)):
		delete(f.sessions, r.URL.Path)
		f.put(w, s.name, s.b)
	case total != "*" || len(s.b)%(256<<10) != 0:
		f.refuse(w, http.StatusBadRequest, "size")
	default:
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.b)-1))
		w.WriteHeader(http.StatusPermanentRedirect)
	}
}

// list answers with two names a page.
func (f *gcsFake) list(w http.ResponseWriter, q url.Values) {
	var page struct {
		Items         []map[string]string `json:"items,omitempty"`
		Prefixes      []string            `json:"prefixes,omitempty"`
		NextPageToken string              `json:"nextPageToken,omitempty"`
	}
	last := ""
	for _, name := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(name, q.Get("prefix")) || name < q.Get("startOffset") || name <= q.Get("pageToken") {
			continue
		}
		if len(page.Items)+len(page.Prefixes) == 2 {
			page.NextPageToken = last
			break
		}
		last = name
		if dir, _, deeper := strings.Cut(name[len(q.Get("prefix")):], "/"); q.Get("delimiter") == "/" && deeper {
			if p := q.Get("prefix") + dir + "/"; !slices.Contains(page.Prefixes, p) {
				page.Prefixes = append(page.Prefixes, p)
			}
			last = q.Get("prefix") + dir + "/\xff"
			continue
		}
		page.Items = append(page.Items, map[string]string{"name": name})
	}
	_ = json.NewEncoder(w).Encode(page)
}

func newGCSFake(t *testing.T) (*gcsFake, *GCS) {
	t.Helper()
	f := &gcsFake{objects: map[string][]byte{}, sessions: map[string]*gcsSession{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	s, err := NewGCS(context.Background(), GCSOptions{Place: Place{Bucket: "lake", Prefix: "p x", Endpoint: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return f, s
}

func TestGCSSimulated(t *testing.T) {
	_, s := newGCSFake(t)
	sinktest.RunStore(t, s)
}

func TestGCSErrors(t *testing.T) {
	f, s := newGCSFake(t)
	for status, want := range map[int]fault.Kind{403: fault.Auth, 401: fault.Auth, 404: fault.Config, 400: fault.Transient} {
		f.mu.Lock()
		f.deny = status
		f.mu.Unlock()
		if err := s.PutAbsent(context.Background(), "x", nil); fault.KindOf(err) != want {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
}
