package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// unreachable classifies an error of a connection. endpoint is where it was made to. A context's end stays one.
func unreachable(op, endpoint string, err error) error {
	err = withoutURL(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	kind, hint := fault.Transient, ""
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var header tls.RecordHeaderError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		hint = "no host has that name: check endpoint, region and bucket"
	case errors.As(err, &authority):
		kind, hint = fault.Config, "name the certificate of the store's authority in tls.ca_file"
	case errors.As(err, &name):
		kind, hint = fault.Config, "the certificate is for another name: set tls.server_name or correct endpoint; with a bucket's name that has points: path_style: true"
	case errors.As(err, &header), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		kind, hint = fault.Config, "the endpoint doesn't speak TLS: write http:// if that is meant"
	case errors.As(err, &dial) && dial.Op == "dial":
		hint = "is the store running, and may this machine connect to it? check endpoint and firewall"
	}
	return fault.New(kind, op, hint, fmt.Errorf("%s: %w", endpoint, err))
}

// withoutURL returns what is wrong without the address of the request, which may hold a signature.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// unlessUnsure is what a put ends with that was sent more than once. Where an earlier try may have taken place, the refusal of a later one,
// whose credentials have ended for one, doesn't say that nothing has changed.
func unlessUnsure(op string, unsure bool, err error) error {
	if !unsure || err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return fault.New(fault.Transient, op, fault.HintOf(err), fmt.Errorf("an earlier try wasn't answered, and then: %s", err.Error())) // its kind must not be seen
}
