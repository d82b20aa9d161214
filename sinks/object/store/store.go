// Package store has the clients of object stores that the object sink writes to: S3 and what speaks its protocol, Google Cloud
// Storage, Azure Blob Storage. Each is a commitlog.Store: what the log needs of a store is little, and conditional writes, whose
// outcome must be told exactly, are its heart.
//
// Clients try a request again a few times when the store is busy or a connection breaks. A put that is sent again finds its own key
// taken if the first one took place: callers are made for that.
package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/sinks/commitlog"
)

// Place is what all stores have in common: where the objects lie, and how it is reached.
type Place struct {
	Bucket string // on Azure a container
	Prefix string // without slashes at its ends; may be empty
	// Endpoint is the URL of the service without a path; empty: the provider's own.
	Endpoint string
	TLS      *tls.Config // nil: the system's
}

// key returns the whole key of one relative to the root.
func (p Place) key(key string) string {
	if p.Prefix == "" {
		return key
	}
	return p.Prefix + "/" + key
}

// relative is the inverse of key.
func (p Place) relative(key string) string {
	if p.Prefix == "" {
		return key
	}
	return strings.TrimPrefix(key, p.Prefix+"/")
}

// location names the root.
func (p Place) location(scheme string) string {
	at := scheme + "://" + p.Bucket
	if p.Prefix != "" {
		at += "/" + p.Prefix
	}
	return at
}

// byteRange is the header that asks for n bytes from off on.
func byteRange(off, n int64) string { return fmt.Sprintf("bytes=%d-%d", off, off+n-1) }

// rangeOf returns what an answer with a status of success has of an object from off on, and how large the object is.
func rangeOf(header http.Header, body []byte, off, n int64) ([]byte, int64, error) {
	said := header.Get("Content-Range")
	if said == "" { // all of it
		size := int64(len(body))
		off = min(off, size)
		return body[off:min(off+n, size)], size, nil
	}
	_, total, _ := strings.Cut(said, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || !strings.HasPrefix(said, fmt.Sprintf("bytes %d-", off)) && len(body) > 0 {
		return nil, 0, fmt.Errorf("the store was asked for bytes from %d on and answered with %q", off, said)
	}
	if want := min(n, size-off); int64(len(body)) != max(want, 0) {
		return nil, 0, fmt.Errorf("the store answered %q with %d bytes", said, len(body))
	}
	return body, size, nil
}

// maxObject bounds what Get reads.
const maxObject = commitlog.MaxObject

// transport is for one store: connections are kept for as many pieces and entries as go at once.
func transport(c *tls.Config) *http.Transport {
	dial := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial.DialContext, TLSClientConfig: c, ForceAttemptHTTP2: false,
		MaxIdleConns: 256, MaxIdleConnsPerHost: 64, IdleConnTimeout: 60 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 60 * time.Second, ExpectContinueTimeout: time.Second,
		DisableCompression: true,
	}
}

// tries bounds how often a request is sent.
const tries = 5

// backoff waits before try n, counted from 1; false: ctx has ended.
func backoff(ctx context.Context, n int) bool {
	if n == 1 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(min(100*time.Millisecond<<n, 2*time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
