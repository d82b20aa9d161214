package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// azureVersion is the version of the protocol.
const azureVersion = "2021-12-02"

// AzureOptions are what a client of Azure Blob Storage is made with.
type AzureOptions struct {
	Place
	Account string // of the storage; names the endpoint if there is none
	// Key or SAS; without either the environment (AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN) is asked, then the machine's identity.
	Key, SAS string
}

// Azure is a Store in a container of Azure Blob Storage.
type Azure struct {
	place    Place
	endpoint string
	sas      string // a query, without "?"
	sender   sender
}

var _ commitlog.Store = (*Azure)(nil)

// NewAzure returns a client. The container isn't asked.
func NewAzure(o AzureOptions) (*Azure, error) {
	const op = "connect to the store"
	s := &Azure{place: o.Place, endpoint: o.Endpoint}
	if s.endpoint == "" {
		s.endpoint = "https://" + o.Account + ".blob.core.windows.net"
	}
	key, sas := o.Key, o.SAS
	if key == "" && sas == "" {
		key, sas = os.Getenv("AZURE_STORAGE_KEY"), os.Getenv("AZURE_STORAGE_SAS_TOKEN")
	}
	switch {
	case sas != "":
		s.sas = strings.TrimPrefix(sas, "?")
		s.sender = newSender(o.Place, nil)
	case key != "":
		secret, err := base64.StdEncoding.DecodeString(key)
		if err != nil || o.Account == "" {
			return nil, fault.New(fault.Auth, op, "credentials.access_key is the storage account's name, secret_key its key as the portal shows it",
				errors.New("the account's name is missing, or its key isn't base64"))
		}
		s.sender = newSender(o.Place, sharedKey(o.Account, secret))
	case strings.HasPrefix(s.endpoint, "http://"):
		return nil, fault.New(fault.Auth, op, "set credentials.secret_key or sas_token", errors.New("a token isn't sent without TLS"))
	default:
		s.sender = newSender(o.Place, bearer(managedIdentity()))
	}
	return s, nil
}

// Close ends idle connections.
func (s *Azure) Close() error { return s.sender.close() }

// Location implements commitlog.Store.
func (s *Azure) Location() string { return s.place.location("azblob") }

// url returns that of a blob, of the container for an empty whole key.
func (s *Azure) url(whole string, q url.Values) string {
	at := s.endpoint + "/" + s.place.Bucket
	if whole != "" {
		at += "/" + escapePath(whole)
	}
	query := q.Encode()
	if s.sas != "" {
		query = strings.Trim(query+"&"+s.sas, "&")
	}
	if query != "" {
		at += "?" + query
	}
	return at
}

func escapePath(key string) string {
	names := strings.Split(key, "/")
	for i, n := range names {
		names[i] = url.PathEscape(n)
	}
	return strings.Join(names, "/")
}

func (s *Azure) send(ctx context.Context, op, right string, q request) (answer, error) {
	if q.header == nil {
		q.header = http.Header{}
	}
	q.header["X-Ms-Version"] = []string{azureVersion}
	a, err := s.sender.send(ctx, op, q)
	if err != nil {
		return a, err
	}
	return a, s.fault(op, right, a)
}

// Get implements commitlog.Store.
func (s *Azure) Get(ctx context.Context, key string) ([]byte, error) {
	a, err := s.send(ctx, "read "+key, "read", request{method: http.MethodGet, url: s.url(s.place.key(key), nil)})
	return a.body, err
}

// GetRange implements commitlog.Store.
func (s *Azure) GetRange(ctx context.Context, key string, off, n int64) ([]byte, int64, error) {
	op := "read " + key
	a, err := s.send(ctx, op, "read", request{
		method: http.MethodGet, url: s.url(s.place.key(key), nil), header: http.Header{"Range": {byteRange(off, n)}},
	})
	return a.rangeOf(op, off, n, err)
}

// PutAbsent implements commitlog.Store.
func (s *Azure) PutAbsent(ctx context.Context, key string, b []byte) error {
	op := "write " + key
	a, err := s.send(ctx, op, "create and write", request{
		method: http.MethodPut, url: s.url(s.place.key(key), nil), body: b,
		header: http.Header{"X-Ms-Blob-Type": {"BlockBlob"}, "If-None-Match": {"*"}, "Content-Type": {"application/octet-stream"}},
	})
	return unlessUnsure(op, a.unsure, err)
}

// Delete implements commitlog.Store.
func (s *Azure) Delete(ctx context.Context, key string) error {
	_, err := s.send(ctx, "delete "+key, "delete", request{method: http.MethodDelete, url: s.url(s.place.key(key), nil)})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List implements commitlog.Store. A list can't begin in the middle, so what comes before after is read and left out.
func (s *Azure) List(ctx context.Context, prefix, after string, folders bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		q := url.Values{"restype": {"container"}, "comp": {"list"}, "prefix": {s.place.key(prefix)}}
		if folders {
			q.Set("delimiter", "/")
		}
		for {
			a, err := s.send(ctx, "list "+prefix, "list", request{method: http.MethodGet, url: s.url("", q)})
			var page struct {
				Names    []string `xml:"Blobs>Blob>Name"`
				Prefixes []string `xml:"Blobs>BlobPrefix>Name"`
				Next     string   `xml:"NextMarker"`
			}
			if err == nil {
				err = xml.Unmarshal(bytes.TrimPrefix(a.body, []byte("\ufeff")), &page)
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range append(page.Prefixes, page.Names...) {
				if key := s.place.relative(name); key > after && !yield(key, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("marker", page.Next)
		}
	}
}

// AbortUploads implements commitlog.Store: blocks that no list of blocks names are deleted by the store after a week.
func (s *Azure) AbortUploads(context.Context, string, func(string) bool) error { return nil }

// NewUpload implements commitlog.Store: the first block begins it.
func (s *Azure) NewUpload(_ context.Context, key string) (commitlog.Upload, error) {
	return &azureUpload{store: s, key: key}, nil
}

type azureUpload struct {
	store *Azure
	key   string

	mu     sync.Mutex
	blocks []string
}

// Put implements commitlog.Upload.
func (u *azureUpload) Put(ctx context.Context, n int, b []byte) error {
	id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06d", n)) // all of one length, in the order of their numbers
	q := url.Values{"comp": {"block"}, "blockid": {id}}
	_, err := u.store.send(ctx, fmt.Sprintf("send piece %d of %s", n, u.key), "create and write", request{
		method: http.MethodPut, url: u.store.url(u.store.place.key(u.key), q), body: b,
	})
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.blocks = append(u.blocks, id)
	return nil
}

// Complete implements commitlog.Upload.
func (u *azureUpload) Complete(ctx context.Context) error {
	slices.Sort(u.blocks)
	list := struct {
		XMLName xml.Name `xml:"BlockList"`
		Latest  []string `xml:"Latest"`
	}{Latest: u.blocks}
	b, err := xml.Marshal(list)
	if err != nil {
		return err
	}
	op := "complete " + u.key
	a, err := u.store.send(ctx, op, "create and write", request{
		method: http.MethodPut, url: u.store.url(u.store.place.key(u.key), url.Values{"comp": {"blocklist"}}), body: b,
		header: http.Header{"If-None-Match": {"*"}, "X-Ms-Blob-Content-Type": {"application/octet-stream"}},
	})
	return unlessUnsure(op, a.unsure, err)
}

// Abort implements commitlog.Upload: see AbortUploads.
func (*azureUpload) Abort(context.Context) error { return nil }

// fault classifies what the store answered. right is what the credentials must be allowed.
func (s *Azure) fault(op, right string, a answer) error {
	if a.ok() {
		return nil
	}
	code := a.header.Get("X-Ms-Error-Code")
	var said struct{ Code, Message string }
	if xml.Unmarshal(bytes.TrimPrefix(a.body, []byte("\ufeff")), &said) != nil {
		said.Message = short(a.body)
	}
	code = cmp.Or(code, said.Code)
	message, _, _ := strings.Cut(said.Message, "\n") // the rest names the request
	err := fmt.Errorf("%s (%s, HTTP %s)", message, code, strconv.Itoa(a.status))
	switch code {
	case "BlobNotFound":
		return fmt.Errorf("%s: %w: %w", op, err, fs.ErrNotExist)
	case "BlobAlreadyExists", "ConditionNotMet":
		return fmt.Errorf("%s: %w: %w", op, err, fs.ErrExist)
	case "ContainerNotFound", "ResourceNotFound":
		return fault.New(fault.Config, op, fmt.Sprintf("is there a container %q in the account?", s.place.Bucket), err)
	case "AuthenticationFailed", "InvalidAuthenticationInfo":
		return fault.New(fault.Auth, op, "check credentials: the account's name (access_key) and its key, or whether the sas_token has ended", err)
	case "InvalidBlockList", "InvalidBlobOrBlock":
		return fmt.Errorf("%s: %w: %w", op, err, fs.ErrNotExist) // the blocks are gone
	}
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.New(fault.Auth, op, fmt.Sprintf("allow the credentials to %s blobs of container %q (the role Storage Blob Data Contributor has what is needed)", right, s.place.Bucket), err)
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w: %w", op, err, fs.ErrExist)
	case http.StatusNotFound:
		return fault.New(fault.Config, op, "does Azure Blob Storage answer at the endpoint?", err)
	}
	return fault.New(fault.Transient, op, "", err)
}
