package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, settings, want string }{
		{"nothing", `{}`, ""},
		{"all", `{"enabled": true, "ca_file": "cert.pem", "cert_file": "cert.pem", "key_file": "` + filepath.Join(dir, "key.pem") + `", "server_name": "x"}`, ""},
		{"no such file", `{"ca_file": "nowhere.pem"}`, "tls.ca_file"},
		{"no certificate", `{"ca_file": "empty.pem"}`, "holds no certificate"},
		{"half a pair", `{"cert_file": "cert.pem"}`, "go together"},
		{"not a pair", `{"cert_file": "cert.pem", "key_file": "empty.pem"}`, "tls.cert_file and tls.key_file"},
		{"off with keys", `{"enabled": false, "ca_file": "cert.pem"}`, "enabled is false"},
	} {
		var s Settings
		if err := json.Unmarshal([]byte(tt.settings), &s); err != nil {
			t.Fatal(err)
		}
		c, err := s.Config(dir)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if tt.name == "all" && (c == nil || c.RootCAs == nil || len(c.Certificates) != 1 || c.ServerName != "x" || c.InsecureSkipVerify) {
			t.Errorf("all: %+v", c)
		}
	}
}

func TestOn(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		s         Settings
		byAddress bool
		want      bool
	}{
		{Settings{}, false, false},
		{Settings{}, true, true},
		{Settings{ServerName: "x"}, false, true},
		{Settings{Enabled: &yes}, false, true},
		{Settings{Enabled: &no}, true, false},
	} {
		if got := tt.s.On(tt.byAddress); got != tt.want {
			t.Errorf("%+v by address %v: %v", tt.s, tt.byAddress, got)
		}
	}
	if !json.Valid([]byte(Schema)) {
		t.Error("the schema isn't JSON")
	}
}
