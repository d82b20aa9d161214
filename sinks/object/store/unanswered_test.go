package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// clients make a client of each kind of a server.
var clients = map[string]func(place Place) (commitlog.Store, error){
	"s3": func(p Place) (commitlog.Store, error) {
		return NewS3(S3Options{Place: p, Region: "us-east-1", PathStyle: true, AccessKey: "k", SecretKey: secret})
	},
	"gcs": func(p Place) (commitlog.Store, error) { return NewGCS(context.Background(), GCSOptions{Place: p}) },
	"azure": func(p Place) (commitlog.Store, error) {
		return NewAzure(AzureOptions{Place: p, Account: "account", Key: base64.StdEncoding.EncodeToString([]byte("key"))})
	},
	"azure by sas": func(p Place) (commitlog.Store, error) {
		return NewAzure(AzureOptions{Place: p, SAS: "sv=2021&sig=" + secret})
	},
}

// client returns the client of a name, whose every request is answered by h.
func client(t *testing.T, name string, h http.HandlerFunc) commitlog.Store {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s, err := clients[name](Place{Bucket: "lake", Prefix: "p", Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.(io.Closer).Close() })
	return s
}

// A put that wasn't answered may have taken place. That the same request is refused when it is sent again, because the credentials have
// ended meanwhile, says nothing of the first: whoever took it for the answer would delete the parts of a commit that stands.
func TestRefusedAfterUnanswered(t *testing.T) {
	for name := range clients {
		for _, first := range []int{0, http.StatusInternalServerError} {
			t.Run(fmt.Sprint(name, first), func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int64
				s := client(t, name, func(w http.ResponseWriter, r *http.Request) {
					switch {
					case asked.Add(1) > 1:
						xmlError(w, http.StatusForbidden, "AccessDenied")
					case first == 0:
						panic(http.ErrAbortHandler)
					default:
						xmlError(w, first, "InternalError")
					}
				})
				err := s.PutAbsent(t.Context(), "x", []byte("y"))
				if fault.KindOf(err) != fault.Transient || fault.HintOf(err) == "" || asked.Load() < 2 {
					t.Errorf("%v (%s) after %d requests: %v", fault.KindOf(err), fault.HintOf(err), asked.Load(), err)
				}
				if err := s.PutAbsent(t.Context(), "x", []byte("y")); fault.KindOf(err) != fault.Auth {
					t.Errorf("refused at once: %v: %v", fault.KindOf(err), err)
				}
			})
		}
	}
}

// The address of a request may hold a signature: no error shows it, whatever ended the request.
func TestAddressStaysSecret(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	begun := make(chan struct{}, 64)
	h := func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	s := client(t, "azure by sas", h)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if err := s.PutAbsent(ctx, "x", []byte("y")); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "write x") {
		t.Errorf("canceled: %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(late, "x"); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("too late: %v", err)
	}
}

// A store that is busy says so before it has read what is sent, and the transport goes on sending it beside the next try. Nothing of it is
// read any more when a put has succeeded: its buffer is the next piece's then, which only a race detector sees here.
func TestBusyBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	whole := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	for name := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, other atomic.Int64
			s := client(t, name, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost && name == "s3":
					_, _ = io.WriteString(w, `<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`)
					return
				case r.Method == http.MethodPost && r.URL.Query().Get("uploadType") == "resumable":
					w.Header().Set("Location", "http://"+r.Host+"/session")
					return
				case asked.Add(1)%2 == 1:
					xmlError(w, http.StatusServiceUnavailable, "SlowDown")
					return
				}
				b, err := io.ReadAll(r.Body)
				if err == nil && name != "s3" && !bytes.Contains(b, whole) { // S3's is signed in pieces
					other.Add(1)
				}
				w.Header().Set("ETag", `"x"`)
				if r.URL.Path == "/session" {
					w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", asked.Load()/2*int64(len(whole))-1))
					w.WriteHeader(http.StatusPermanentRedirect)
				}
			})
			up, err := s.NewUpload(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			b := bytes.Clone(whole)
			for n := range 3 {
				if err := up.Put(t.Context(), n+1, b); err != nil {
					t.Fatal(err)
				}
				clear(b)
				copy(b, whole)
			}
			if err := s.PutAbsent(t.Context(), "y", b); err != nil {
				t.Fatal(err)
			}
			clear(b)
			if asked.Load() != 8 || other.Load() > 0 {
				t.Errorf("%d requests, %d of them with other bytes", asked.Load(), other.Load())
			}
		})
	}
}
