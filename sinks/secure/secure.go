// Package secure is the `tls` settings of sinks that connect to something: the same keys with the same meaning in each.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Settings are the keys below `tls`. Files are read when Config is called, so a renewed certificate counts from the next start.
type Settings struct {
	// Enabled nil means: on if any other key is set. Sinks whose address tells (https://) go by the address.
	Enabled            *bool  `json:"enabled"`
	CAFile             string `json:"ca_file"`
	CertFile           string `json:"cert_file"`
	KeyFile            string `json:"key_file"`
	ServerName         string `json:"server_name"`
	InsecureSkipVerify bool   `json:"insecure_skip_verify"`
}

// Schema is the JSON Schema of the key `tls`.
const Schema = `{
      "type": "object", "additionalProperties": false,
      "description": "TLS to the server: version 1.2 or later, the server's certificate is verified.",
      "properties": {
        "enabled": {"type": "boolean", "description": "Use TLS; default: if any other key of tls is given, or if the address says so (https)."},
        "ca_file": {"type": "string", "minLength": 1, "description": "Certificates (PEM) that are trusted instead of the system's."},
        "cert_file": {"type": "string", "minLength": 1, "description": "This client's certificate chain (PEM), with key_file."},
        "key_file": {"type": "string", "minLength": 1, "description": "Its private key (PEM, not encrypted)."},
        "server_name": {"type": "string", "minLength": 1, "description": "The name that the server's certificate must have; default: the address's host."},
        "insecure_skip_verify": {"type": "boolean", "default": false, "description": "Trust any certificate. Whoever sits between can read and change everything: for tests only."}
      }
    }`

// On reports whether TLS is to be used; byAddress is what the address says.
func (s Settings) On(byAddress bool) bool {
	if s.Enabled != nil {
		return *s.Enabled
	}
	return byAddress || s != (Settings{})
}

// Validate reports settings that contradict each other.
func (s Settings) Validate() error {
	var errs []error
	if (s.CertFile == "") != (s.KeyFile == "") {
		errs = append(errs, errors.New("tls: cert_file and key_file go together: one of them is missing"))
	}
	if s.Enabled != nil && !*s.Enabled {
		rest := s
		rest.Enabled = nil
		if rest != (Settings{}) {
			errs = append(errs, errors.New("tls: enabled is false, and other keys of tls are set: delete them or enable it"))
		}
	}
	return errors.Join(errs...)
}

// Config reads the files, relative ones below base, and returns what a client connects with. It says nothing of On.
func (s Settings) Config(base string) (*tls.Config, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName, InsecureSkipVerify: s.InsecureSkipVerify} //nolint:gosec // the user's explicit choice
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(base, name)
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(at(s.CAFile))
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM", at(s.CAFile))
		}
	}
	if s.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(at(s.CertFile), at(s.KeyFile))
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
