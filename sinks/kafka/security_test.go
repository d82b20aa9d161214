package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	realkafka "github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// secured is the broker's listener with SCRAM over TLS.
func secured(b *realkafka.Broker, mechanism, password string) map[string]any {
	return map[string]any{
		"brokers": []string{b.Scram}, "create_topics": nil,
		"tls":  map[string]any{"ca_file": b.CAFile},
		"sasl": map[string]any{"mechanism": mechanism, "username": realkafka.User, "password": password},
	}
}

func TestSecurity(t *testing.T) {
	b := broker(t)
	adm := admin(t, b.Address)
	r := newRig(b.Address)
	ctx := begun(t)
	grant := func(b *kadm.ACLBuilder) {
		t.Helper()
		if _, err := adm.CreateACLs(ctx, b.Allow("User:"+realkafka.User).AllowHosts()); err != nil {
			t.Fatal(err)
		}
	}
	online := func(settings map[string]any) (string, error) { return Definition.Online(begun(t), r.config(settings)) }
	refused := func(kind fault.Kind, settings map[string]any, words ...string) {
		t.Helper()
		for name, try := range map[string]func() error{
			"online": func() error { _, err := online(settings); return err },
			"open": func() error {
				k, err := Open(begun(t), r.config(settings))
				if err == nil {
					_ = k.Close()
				}
				return err
			},
		} {
			err := try()
			if fault.KindOf(err) != kind {
				t.Errorf("%s: %v is of kind %s, want %s", name, err, fault.KindOf(err), kind)
			}
			contains(t, err, words...)
			if err != nil && strings.Contains(err.Error(), "wrong-password") {
				t.Errorf("%s: the password is in %q", name, err)
			}
		}
	}
	user := secured(b, "scram-sha-512", realkafka.Password)
	user["transactional_id_prefix"] = r.topic // rights outlive a test
	refused(fault.Auth, secured(b, "scram-sha-256", "wrong-password"), "SASL_AUTHENTICATION_FAILED")
	refused(fault.Auth, secured(b, "plain", realkafka.Password), "SASL")
	untrusted := secured(b, "scram-sha-256", realkafka.Password)
	untrusted["tls"] = map[string]any{"enabled": true}
	refused(fault.Config, untrusted, "certificate")
	refused(fault.Transient, map[string]any{"brokers": []string{b.Scram}, "create_topics": nil}, "")
	refused(fault.Transient, map[string]any{"brokers": []string{b.Address}, "create_topics": nil, "tls": map[string]any{"ca_file": b.CAFile}}, "TLS")

	makeTopic(t, adm, r.topic, nil)
	makeTopic(t, adm, r.markers, map[string]string{"cleanup.policy": "compact"})
	if _, err := online(user); err == nil {
		t.Error("a user without rights passes the check")
	} else if fault.KindOf(err) != fault.Auth {
		t.Errorf("%v is of kind %s", err, fault.KindOf(err))
	}
	grant(kadm.NewACLs().Topics(r.topic, r.markers).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpDescribe, kadm.OpWrite))
	_, err := online(user)
	contains(t, err, "TOPIC_AUTHORIZATION_FAILED", r.markers) // it may not be read
	grant(kadm.NewACLs().Topics(r.markers).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead))
	_, err = online(user)
	contains(t, err, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
	grant(kadm.NewACLs().TransactionalIDs(r.topic+"-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpDescribe, kadm.OpWrite))
	said, err := online(user)
	if err != nil || !strings.Contains(said, "may not be asked") || !strings.Contains(said, "transactions of up to 15m") {
		t.Errorf("%q, %v", said, err)
	}
	if all, err := r.read(r.markers); err != nil || len(all) > 0 {
		t.Errorf("the check has written %d messages, %v", len(all), err)
	}
	// The rights that the check asks for are enough.
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 20)
	if _, err := sinktest.Write(ctx, opened(t, r.config(user)), s, bodies); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, bodies)
	// A client certificate instead.
	cert, key := b.ClientCertificate()
	byCert := map[string]any{"brokers": []string{b.TLS}, "tls": map[string]any{"ca_file": b.CAFile, "cert_file": cert, "key_file": key}}
	s2 := sinktest.Hours("one", 1, 2)
	if _, err := sinktest.Write(ctx, opened(t, r.config(byCert)), s2, sinktest.Bodies(s2, 3)); err != nil {
		t.Fatal(err)
	}
	r.wantBodies(t, bodies, sinktest.Bodies(s2, 3))
}
