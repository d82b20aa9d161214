package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// Explain returns an error of kind fault.Config with what to do about it if err is about TLS, the certificates or the lack of either, and
// nil if it isn't. Libraries such as gRPC pass causes on as text alone, and alerts of the other side have no type of their own: so the
// text is looked at too.
func Explain(op string, err error) error {
	if err == nil {
		return nil
	}
	hint := hintOf(err)
	if hint == "" {
		return nil
	}
	return fault.New(fault.Config, op, hint, err)
}

func hintOf(err error) string {
	text := err.Error()
	says := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired || says("certificate has expired or is not yet valid") {
		return "the server's certificate isn't valid at this time: it must be renewed there, or this machine's clock set right"
	}
	if errors.As(err, new(x509.HostnameError)) || says("x509: certificate is valid for", "x509: certificate is not valid for", "doesn't contain any IP SANs") {
		return "tls.server_name is the name that the certificate must have"
	}
	var verification *tls.CertificateVerificationError
	if errors.As(err, &verification) || errors.As(err, new(x509.UnknownAuthorityError)) || says("x509:") {
		return "the server's certificate isn't trusted: tls.ca_file names the certificates that are"
	}
	if errors.As(err, new(tls.RecordHeaderError)) || says("first record does not look like a TLS handshake", "server gave HTTP response to HTTPS client") {
		return "the port doesn't speak TLS: if a plain connection is meant, turn tls off (an address begins with http:// then)"
	}
	_, alert, ok := strings.Cut(text, "remote error: tls: ")
	switch {
	case !ok:
		return ""
	case strings.HasPrefix(alert, "expired certificate"):
		return "this client's own certificate (tls.cert_file) has expired"
	case strings.HasPrefix(alert, "protocol version not supported"), strings.HasPrefix(alert, "handshake failure"), strings.HasPrefix(alert, "insufficient security level"):
		return "both sides must share a version of TLS, 1.2 or later, and a cipher; the server's log tells"
	case strings.HasPrefix(alert, "unrecognized name"):
		return "tls.server_name is a name that the server has a certificate for"
	case strings.Contains(alert, "certificate"), strings.HasPrefix(alert, "access denied"):
		return "the server wants another client certificate: tls.cert_file and tls.key_file"
	}
	return "" // the server is in trouble, or what was sent has changed on the way
}
