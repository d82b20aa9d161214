// Package kafka starts Apache Kafka for tests: one broker that is its own controller (KRaft), on free loopback ports, with a data
// folder of its own. `.ci/parts.sh kafka` installs it.
//
//	b := kafka.Start(t, kafka.Options{})
//	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address))
//	b.Kill()
//	b.Restart(t)
//
// It imports testing and is for test files only.
package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/sluice-io/sluice/internal/realpart"
)

// readyWithin is generous: a loaded machine with two cores takes twenty seconds.
const readyWithin = 3 * time.Minute

// Options are what a broker has beyond the plain listener.
type Options struct {
	// Secure adds listeners with SCRAM over TLS and with TLS alone, and an authorizer: User may do nothing until it is given a right.
	// Whoever comes by the plain listener may do everything.
	Secure bool
	// Through returns the address by which clients are told to come to the plain listener, as that of a proxy. nil: its own.
	Through func(listener string) string
}

// User and Password are the credentials of a Secure broker, valid for SCRAM-SHA-256 and SCRAM-SHA-512.
const (
	User     = "sluice"
	Password = "not-a-secret"
)

// Broker is a running broker. Its methods are for one goroutine at a time.
type Broker struct {
	Address string // of the plain listener
	Through string // what clients are told that is
	Scram   string // SASL_SSL; Secure only
	TLS     string // SSL; Secure only
	CAFile  string // PEM; Secure only
	Libs    string // the folder of the jar files, with Kafka's own tools

	java string
	part string
	dir  string
	opts Options
	proc *realpart.Process
}

// Needed returns what a broker is made of, or skips a test where that isn't installed.
func Needed(t testing.TB) (part, java string) {
	t.Helper()
	return realpart.Installed(t, "kafka"), realpart.Need(t, "java", "apt-get install openjdk-17-jre-headless")
}

// Start starts a broker that ends with the test, or ends the test as realpart.Need does if Kafka isn't installed.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	part, java := Needed(t)
	var err error
	for range 3 { // a port may be taken between its choice and the start
		b := &Broker{Libs: filepath.Join(part, "libs"), java: java, part: part, dir: t.TempDir(), opts: o}
		if err = b.format(java); err == nil {
			err = b.start(t, java)
		}
		if err == nil {
			return b
		}
	}
	t.Fatal(err)
	return nil
}

// Kill ends the broker with SIGKILL.
func (b *Broker) Kill() { b.proc.Kill() }

// Stop ends the broker in good order.
func (b *Broker) Stop() { b.proc.Stop(30 * time.Second) }

// Restart starts a broker that has ended, on the same ports and data, and returns when it takes requests.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	if err := b.Again(t); err != nil {
		t.Fatal(err)
	}
}

// Again is Restart for a goroutine that isn't the test's own.
func (b *Broker) Again(t testing.TB) error {
	t.Helper()
	return b.start(t, b.java)
}

// Tool returns a command that runs one of Kafka's Java classes, such as org.apache.kafka.tools.ProducerPerformance.
func (b *Broker) Tool(t testing.TB, class string, args ...string) *exec.Cmd {
	t.Helper()
	java := realpart.Need(t, "java", "apt-get install openjdk-17-jre-headless")
	return exec.Command(java, append([]string{"-Xmx512m", "-Dlog4j2.level=ERROR", "-cp", b.Libs + "/*", class}, args...)...)
}

func (b *Broker) class(java, class string, args ...string) *exec.Cmd {
	all := append(realpart.Java(b.part), "-Xms96m", "-Xmx384m", "-Dlog4j2.level=WARN", "-Dlog4j2.disable.jmx=true", "-cp", b.Libs+"/*", class)
	cmd := exec.Command(java, append(all, args...)...)
	cmd.Dir = b.dir
	return cmd
}

func (b *Broker) properties() string { return filepath.Join(b.dir, "server.properties") }

// format chooses ports, writes the configuration and makes the data folder.
func (b *Broker) format(java string) error {
	ports, err := realpart.FreePorts(4)
	if err != nil {
		return err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	b.Address = at(0)
	b.Through = b.Address
	if b.opts.Through != nil {
		b.Through = b.opts.Through(b.Address)
	}
	listeners, advertised, protocols := "PLAINTEXT://"+at(0)+",CONTROLLER://"+at(1), "PLAINTEXT://"+b.Through, "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
	extra := ""
	if b.opts.Secure {
		if err := writeCertificates(b.dir); err != nil {
			return err
		}
		b.Scram, b.TLS, b.CAFile = at(2), at(3), filepath.Join(b.dir, "ca.pem")
		listeners += ",SCRAM://" + b.Scram + ",TLS://" + b.TLS
		advertised += ",SCRAM://" + b.Scram + ",TLS://" + b.TLS
		protocols += ",SCRAM:SASL_SSL,TLS:SSL"
		extra = fmt.Sprintf(`
ssl.keystore.type=PEM
ssl.keystore.location=%s
ssl.truststore.type=PEM
ssl.truststore.location=%s
ssl.endpoint.identification.algorithm=
listener.name.tls.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:CN=client
`, filepath.Join(b.dir, "server.pem"), b.CAFile)
	}
	// Tests write records of long ago: by its defaults a broker deletes them half a minute after its start, because they are older than a week.
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%s
listeners=%s
advertised.listeners=%s
listener.security.protocol.map=%s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%s
num.partitions=3
num.network.threads=2
num.io.threads=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=300
log.segment.bytes=67108864
log.retention.ms=-1
log.index.size.max.bytes=1048576
%s`, at(1), listeners, advertised, protocols, filepath.Join(b.dir, "data"), extra)
	if err := os.WriteFile(b.properties(), []byte(text), 0o600); err != nil {
		return err
	}
	args := []string{"format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", b.properties()}
	if b.opts.Secure {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, User, Password))
		}
	}
	if out, err := b.class(java, "kafka.tools.StorageTool", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("format the broker's storage: %w\n%s", err, out)
	}
	return nil
}

func (b *Broker) start(t testing.TB, java string) error {
	t.Helper()
	client, err := kgo.NewClient(b.ready()...)
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := realpart.Start(t, b.class(java, "kafka.Kafka", b.properties()), readyWithin, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		m, err := kadm.NewClient(client).BrokerMetadata(ctx)
		if err == nil && (len(m.Brokers) != 1 || m.Brokers[0].NodeID != 1) {
			err = errors.New("another broker listens here")
		}
		return err
	})
	b.proc = p
	return err
}

func (b *Broker) ready() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(b.Address), kgo.DialTimeout(2 * time.Second), kgo.RetryTimeout(2 * time.Second), kgo.RequestRetries(0)}
}

// ScramOptions returns what a client needs for the Scram listener.
func (b *Broker) ScramOptions(t testing.TB) []kgo.Opt {
	t.Helper()
	pem, err := os.ReadFile(b.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return []kgo.Opt{
		kgo.SeedBrokers(b.Scram), kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		kgo.SASL(scram.Auth{User: User, Pass: Password}.AsSha256Mechanism()),
	}
}

// ClientCertificate returns the files of the certificate and key that the TLS listener takes.
func (b *Broker) ClientCertificate() (certFile, keyFile string) {
	return filepath.Join(b.dir, "client.pem"), filepath.Join(b.dir, "client-key.pem")
}
