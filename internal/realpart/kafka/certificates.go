package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// writeCertificates makes an authority and certificates of it for the broker and for a client, as PEM files in dir.
func writeCertificates(dir string) error {
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "ca.pem"), block{"CERTIFICATE", ca}); err != nil {
		return err
	}
	for i, name := range []string{"server", "client"} {
		leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		}, authority, leaf.Public(), key)
		if err != nil {
			return err
		}
		private, err := x509.MarshalPKCS8PrivateKey(leaf)
		if err != nil {
			return err
		}
		chain := []block{{"CERTIFICATE", der}, {"CERTIFICATE", ca}}
		if name == "server" {
			err = writePEM(filepath.Join(dir, "server.pem"), append([]block{{"PRIVATE KEY", private}}, chain...)...)
		} else {
			err = writePEM(filepath.Join(dir, "client.pem"), chain...)
			if err == nil {
				err = writePEM(filepath.Join(dir, "client-key.pem"), block{"PRIVATE KEY", private})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type block struct {
	kind string
	der  []byte
}

func writePEM(name string, blocks ...block) error {
	var out []byte
	for _, b := range blocks {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: b.kind, Bytes: b.der})...)
	}
	return os.WriteFile(name, out, 0o600)
}
