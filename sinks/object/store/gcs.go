package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// gcsScope is the right to read and write objects, without those on buckets.
const gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"

// gcsUnit is what pieces but the last must be a multiple of.
const gcsUnit = 256 << 10

// GCSOptions are what a client of Google Cloud Storage is made with.
type GCSOptions struct {
	Place
	// File is a JSON file of credentials; empty: where Google's own tools look for them. Over plain HTTP, which emulators speak, no
	// credentials are sent.
	File string
}

// GCS is a Store in a bucket of Google Cloud Storage, by its JSON interface.
type GCS struct {
	place    Place
	endpoint string
	sender   sender
}

var _ commitlog.Store = (*GCS)(nil)

// NewGCS returns a client. Credentials are looked for, the bucket isn't asked.
func NewGCS(ctx context.Context, o GCSOptions) (*GCS, error) {
	const op = "connect to the store"
	s := &GCS{place: o.Place, endpoint: o.Endpoint}
	if s.endpoint == "" {
		s.endpoint = "https://storage.googleapis.com"
	}
	if strings.HasPrefix(s.endpoint, "http://") {
		s.sender = newSender(o.Place, nil)
		return s, nil
	}
	var c *google.Credentials
	var err error
	// Tokens are asked for as long as the sink lives, which is longer than ctx.
	ctx = context.WithoutCancel(ctx)
	if o.File == "" {
		c, err = google.FindDefaultCredentials(ctx, gcsScope)
	} else {
		var b []byte
		if b, err = os.ReadFile(o.File); err == nil {
			c, err = credentialsOf(ctx, b)
		}
	}
	if err != nil {
		return nil, fault.New(fault.Auth, op,
			"set credentials.file, or GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`, or give the machine a service account", err)
	}
	s.sender = newSender(o.Place, bearer(oauth2.ReuseTokenSource(nil, c.TokenSource)))
	return s, nil
}

// credentialsOf reads a file of credentials, of the kinds that a program is given.
func credentialsOf(ctx context.Context, b []byte) (*google.Credentials, error) {
	var file struct {
		Type google.CredentialsType `json:"type"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, errors.New("the file of credentials isn't JSON") // the error would show a piece of it
	}
	switch file.Type {
	case google.ServiceAccount, google.ExternalAccount, google.AuthorizedUser, google.ImpersonatedServiceAccount:
		return google.CredentialsFromJSONWithType(ctx, b, file.Type, gcsScope)
	}
	return nil, fmt.Errorf("the file of credentials is of type %q, which isn't one for programs", file.Type)
}

// bearer signs requests with a token.
func bearer(source oauth2.TokenSource) func(context.Context, *http.Request, []byte) error {
	return func(_ context.Context, r *http.Request, _ []byte) error {
		t, err := source.Token()
		if err != nil {
			return fault.New(fault.Auth, "get a token", "are the credentials valid still, and may this machine connect to whoever gives tokens?", err)
		}
		t.SetAuthHeader(r)
		return nil
	}
}

// Close ends idle connections.
func (s *GCS) Close() error { return s.sender.close() }

// Location implements commitlog.Store.
func (s *GCS) Location() string { return s.place.location("gs") }

func (s *GCS) bucket() string {
	return s.endpoint + "/storage/v1/b/" + url.PathEscape(s.place.Bucket) + "/o"
}

func (s *GCS) object(key string) string { return s.bucket() + "/" + url.PathEscape(s.place.key(key)) }

func (s *GCS) upload(key, kind string) string {
	q := url.Values{"uploadType": {kind}, "name": {s.place.key(key)}, "ifGenerationMatch": {"0"}} // 0: there is none
	return s.endpoint + "/upload/storage/v1/b/" + url.PathEscape(s.place.Bucket) + "/o?" + q.Encode()
}

// Get implements commitlog.Store.
func (s *GCS) Get(ctx context.Context, key string) ([]byte, error) {
	op := "read " + key
	a, err := s.sender.send(ctx, op, request{method: http.MethodGet, url: s.object(key) + "?alt=media"})
	if err != nil {
		return nil, err
	}
	return a.body, s.fault(op, "storage.objects.get", a)
}

// GetRange implements commitlog.Store.
func (s *GCS) GetRange(ctx context.Context, key string, off, n int64) ([]byte, int64, error) {
	op := "read " + key
	a, err := s.sender.send(ctx, op, request{
		method: http.MethodGet, url: s.object(key) + "?alt=media", header: http.Header{"Range": {byteRange(off, n)}},
	})
	if err != nil {
		return nil, 0, err
	}
	return a.rangeOf(op, off, n, s.fault(op, "storage.objects.get", a))
}

// PutAbsent implements commitlog.Store.
func (s *GCS) PutAbsent(ctx context.Context, key string, b []byte) error {
	op := "write " + key
	a, err := s.sender.send(ctx, op, request{
		method: http.MethodPost, url: s.upload(key, "media"), body: b, header: http.Header{"Content-Type": {"application/octet-stream"}},
	})
	if err == nil {
		err = s.fault(op, "storage.objects.create", a)
	}
	return unlessUnsure(op, a.unsure, err)
}

// Delete implements commitlog.Store.
func (s *GCS) Delete(ctx context.Context, key string) error {
	op := "delete " + key
	a, err := s.sender.send(ctx, op, request{method: http.MethodDelete, url: s.object(key)})
	if err != nil {
		return err
	}
	if err := s.fault(op, "storage.objects.delete", a); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements commitlog.Store.
func (s *GCS) List(ctx context.Context, prefix, after string, folders bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		q := url.Values{"prefix": {s.place.key(prefix)}, "fields": {"items(name),prefixes,nextPageToken"}}
		if after != "" {
			q.Set("startOffset", s.place.key(after))
		}
		if folders {
			q.Set("delimiter", "/")
		}
		for {
			op := "list " + prefix
			a, err := s.sender.send(ctx, op, request{method: http.MethodGet, url: s.bucket() + "?" + q.Encode()})
			if err == nil {
				err = s.fault(op, "storage.objects.list", a)
			}
			var page struct {
				Items         []struct{ Name string }
				Prefixes      []string
				NextPageToken string
			}
			if err == nil {
				err = json.Unmarshal(a.body, &page)
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, i := range page.Items {
				page.Prefixes = append(page.Prefixes, i.Name)
			}
			for _, name := range page.Prefixes {
				if key := s.place.relative(name); key > after && !yield(key, nil) {
					return
				}
			}
			if page.NextPageToken == "" {
				return
			}
			q.Set("pageToken", page.NextPageToken)
		}
	}
}

// AbortUploads implements commitlog.Store: unfinished uploads end by themselves after a week.
func (s *GCS) AbortUploads(context.Context, string, func(string) bool) error { return nil }

// NewUpload implements commitlog.Store.
func (s *GCS) NewUpload(ctx context.Context, key string) (commitlog.Upload, error) {
	op := "begin the upload of " + key
	a, err := s.sender.send(ctx, op, request{
		method: http.MethodPost, url: s.upload(key, "resumable"), header: http.Header{"X-Upload-Content-Type": {"application/octet-stream"}},
	})
	if err == nil {
		err = s.fault(op, "storage.objects.create", a)
	}
	if err != nil {
		return nil, err
	}
	u := &gcsUpload{store: s, key: key, session: a.header.Get("Location"), next: 1}
	u.turn = sync.NewCond(&u.mu)
	if u.session == "" {
		return nil, fault.Errorf(fault.Transient, op, "the store named no session")
	}
	return u, nil
}

// gcsUpload is a resumable upload, which takes pieces in their order: those that come early wait. What is no multiple of gcsUnit can
// only be sent as the end of the object, so it is kept until Complete.
type gcsUpload struct {
	store        *GCS
	key, session string

	mu   sync.Mutex
	turn *sync.Cond
	next int
	sent int64
	tail []byte
	err  error
}

// Put implements commitlog.Upload.
func (u *gcsUpload) Put(ctx context.Context, n int, b []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.turn.Broadcast()
	})
	defer stop()
	for u.next != n && u.err == nil && ctx.Err() == nil {
		u.turn.Wait()
	}
	if err := errors.Join(u.err, ctx.Err()); err != nil {
		return err
	}
	defer u.turn.Broadcast()
	if len(u.tail) > 0 {
		u.err = fault.Errorf(fault.Bug, "send a piece of "+u.key, "a piece before the last one is no multiple of %d bytes", gcsUnit)
		return u.err
	}
	whole := len(b) / gcsUnit * gcsUnit
	if whole > 0 {
		if u.err = u.send(ctx, b[:whole], "*"); u.err != nil {
			return u.err
		}
	}
	u.tail = bytes.Clone(b[whole:])
	u.next++
	return nil
}

// send sends the bytes that follow; total is the object's size, "*" while it isn't known. After a try of unknown outcome the store
// takes only what follows what it has: it is asked for that by sending nothing.
func (u *gcsUpload) send(ctx context.Context, b []byte, total string) error {
	op := "send a piece of " + u.key
	span := "*"
	if len(b) > 0 {
		span = fmt.Sprintf("%d-%d", u.sent, u.sent+int64(len(b))-1)
	}
	a, err := u.store.sender.send(ctx, op, request{
		method: http.MethodPut, url: u.session, body: b, header: http.Header{"Content-Range": {"bytes " + span + "/" + total}},
	})
	if err != nil {
		return unlessUnsure(op, a.unsure, err)
	}
	if a.status != http.StatusPermanentRedirect { // "resume incomplete"
		if total == "*" && a.ok() {
			return fault.Errorf(fault.Transient, op, "the store ended the object early")
		}
		return unlessUnsure(op, a.unsure, u.store.fault(op, "storage.objects.create", a))
	}
	if want := fmt.Sprintf("bytes=0-%d", u.sent+int64(len(b))-1); total != "*" || a.header.Get("Range") != want {
		return fault.Errorf(fault.Transient, op, "the store has %q of it, not %s", a.header.Get("Range"), want)
	}
	u.sent += int64(len(b))
	return nil
}

// Complete implements commitlog.Upload.
func (u *gcsUpload) Complete(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return u.err
	}
	return u.send(ctx, u.tail, fmt.Sprint(u.sent+int64(len(u.tail))))
}

// Abort implements commitlog.Upload.
func (u *gcsUpload) Abort(ctx context.Context) error {
	_, err := u.store.sender.send(ctx, "give up the upload of "+u.key, request{method: http.MethodDelete, url: u.session})
	return err // the status of a session that was ended is 499
}

// fault classifies what the store answered. right is what the credentials must be allowed.
func (s *GCS) fault(op, right string, a answer) error {
	if a.ok() {
		return nil
	}
	var said struct {
		Error struct{ Message string }
	}
	text := short(a.body)
	if json.Unmarshal(a.body, &said) == nil && said.Error.Message != "" {
		text = said.Error.Message
	}
	err := fmt.Errorf("%s (HTTP %d)", text, a.status)
	switch a.status {
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w: %w", op, err, fs.ErrExist)
	case http.StatusNotFound:
		if strings.Contains(text, "No such object") || text == "Not Found" { // the second is an emulator's
			return fmt.Errorf("%s: %w: %w", op, err, fs.ErrNotExist)
		}
		return fault.New(fault.Config, op, fmt.Sprintf("is there a bucket %q?", s.place.Bucket), err)
	case http.StatusUnauthorized:
		return fault.New(fault.Auth, op, "the credentials aren't valid: check credentials.file", err)
	case http.StatusForbidden:
		return fault.New(fault.Auth, op, fmt.Sprintf("give the credentials %s on bucket %q (the role Storage Object User has what is needed)", right, s.place.Bucket), err)
	case http.StatusGone: // of a session
		return fmt.Errorf("%s: %w: %w", op, err, fs.ErrNotExist)
	}
	return fault.New(fault.Transient, op, "", err)
}
