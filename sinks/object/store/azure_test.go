package store

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// azureFake answers as Azure's interface is documented to. It is a simulation: the service itself has not been asked.
type azureFake struct {
	mu     sync.Mutex
	blobs  map[string][]byte
	blocks map[string]map[string][]byte
}

func (f *azureFake) refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Ms-Error-Code", code)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>said\nRequestId:1</Message></Error>", code)
}

func (f *azureFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	q := r.URL.Query()
	path, ok := strings.CutPrefix(r.URL.Path, "/account/lake")
	name := strings.TrimPrefix(path, "/")
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey account:") || r.Header.Get("X-Ms-Version") == "":
		f.refuse(w, http.StatusForbidden, "AuthenticationFailed")
	case !ok:
		f.refuse(w, http.StatusNotFound, "ContainerNotFound")
	case q.Get("comp") == "list":
		f.list(w, q)
	case r.Method == http.MethodPut && q.Get("comp") == "block":
		if f.blocks[name] == nil {
			f.blocks[name] = map[string][]byte{}
		}
		f.blocks[name][q.Get("blockid")] = body
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut:
		if r.Header.Get("If-None-Match") != "*" {
			f.refuse(w, http.StatusBadRequest, "TheConditionIsMissing")
			return
		}
		if _, taken := f.blobs[name]; taken {
			f.refuse(w, http.StatusConflict, "BlobAlreadyExists")
			return
		}
		if q.Get("comp") == "blocklist" {
			var list struct{ Latest []string }
			if err := xml.Unmarshal(body, &list); err != nil {
				f.refuse(w, http.StatusBadRequest, "InvalidXmlDocument")
				return
			}
			body = nil
			for _, id := range list.Latest {
				b, ok := f.blocks[name][id]
				if !ok {
					f.refuse(w, http.StatusBadRequest, "InvalidBlockList")
					return
				}
				body = append(body, b...)
			}
		} else if r.Header.Get("X-Ms-Blob-Type") != "BlockBlob" {
			f.refuse(w, http.StatusBadRequest, "MissingRequiredHeader")
			return
		}
		f.blobs[name] = body
		w.WriteHeader(http.StatusCreated)
	default:
		b, ok := f.blobs[name]
		if !ok {
			f.refuse(w, http.StatusNotFound, "BlobNotFound")
			return
		}
		if r.Method == http.MethodDelete {
			delete(f.blobs, name)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		_, _ = w.Write(b)
	}
}

// list answers with two names a page.
func (f *azureFake) list(w http.ResponseWriter, q url.Values) {
	type item struct{ Name string }
	var page struct {
		XMLName    xml.Name `xml:"EnumerationResults"`
		Blobs      []item   `xml:"Blobs>Blob"`
		Prefixes   []item   `xml:"Blobs>BlobPrefix"`
		NextMarker string
	}
	last := ""
	for _, name := range slices.Sorted(maps.Keys(f.blobs)) {
		if !strings.HasPrefix(name, q.Get("prefix")) || name <= q.Get("marker") {
			continue
		}
		if len(page.Blobs)+len(page.Prefixes) == 2 {
			page.NextMarker = last
			break
		}
		last = name
		if dir, _, deeper := strings.Cut(name[len(q.Get("prefix")):], "/"); q.Get("delimiter") == "/" && deeper {
			if p := (item{q.Get("prefix") + dir + "/"}); !slices.Contains(page.Prefixes, p) {
				page.Prefixes = append(page.Prefixes, p)
			}
			last = q.Get("prefix") + dir + "/\uffff"
			continue
		}
		page.Blobs = append(page.Blobs, item{name})
	}
	_, _ = io.WriteString(w, "\ufeff"+xml.Header)
	_ = xml.NewEncoder(w).Encode(page)
}

func newAzureFake(t *testing.T, container string) *Azure {
	t.Helper()
	server := httptest.NewServer(&azureFake{blobs: map[string][]byte{}, blocks: map[string]map[string][]byte{}})
	t.Cleanup(server.Close)
	s, err := NewAzure(AzureOptions{
		Place: Place{Bucket: container, Prefix: "p x", Endpoint: server.URL + "/account"}, Account: "account",
		Key: base64.StdEncoding.EncodeToString([]byte(secret)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAzureSimulated(t *testing.T) { sinktest.RunStore(t, newAzureFake(t, "lake")) }

func TestAzureErrors(t *testing.T) {
	if _, err := newAzureFake(t, "sea").Get(context.Background(), "x"); fault.KindOf(err) != fault.Config {
		t.Errorf("a container that isn't there: %v", err)
	}
	if _, err := NewAzure(AzureOptions{Place: Place{Bucket: "lake"}, Account: "a", Key: "no base64!"}); fault.KindOf(err) != fault.Auth || strings.Contains(err.Error(), "no base64!") {
		t.Errorf("a key that isn't one: %v", err)
	}
}

// What is signed is pinned: this text is what Microsoft's emulator takes.
func TestStringToSign(t *testing.T) {
	r, err := http.NewRequest(http.MethodPut, "http://127.0.0.1:10000/account/lake/a%20b?comp=block&blockid=MDA%3D", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-Ms-Version": {azureVersion}, "X-Ms-Date": {"now"}, "If-None-Match": {"*"}, "Content-Type": {"text/plain"}}
	want := "PUT\n\n\n7\n\ntext/plain\n\n\n\n*\n\n\nx-ms-date:now\nx-ms-version:2021-12-02\n/account/account/lake/a%20b\nblockid:MDA=\ncomp:block"
	if got := stringToSign("account", r, 7); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
