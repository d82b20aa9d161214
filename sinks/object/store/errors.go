package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// unreachable classifies an error of a connection. endpoint is where it was made to. A context's end stays one.
func unreachable(op, endpoint string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	// The URL of the request may hold a signature; the endpoint says enough.
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
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
