package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// broker is Apache Kafka, one node, a process of its own. Unlike that of the tests it has a heap and a compiler to be fast with.
type broker struct {
	address string
	libs    string // folder of the jar files
	java    string
	folder  string // data and configuration
	cmd     *exec.Cmd
	output  bytes.Buffer
	ended   chan struct{} // closed when it has
	err     error         // of its end; valid after ended is closed
	client  *kgo.Client
	runs    int // names topics and transactions
	small   payload
}

const brokerProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%[3]s
num.partitions=%[4]d
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
transaction.max.timeout.ms=3600000
group.initial.rebalance.delay.ms=0
log.segment.delete.delay.ms=0
`

// kafkaPartitions is how many every topic has.
const kafkaPartitions = 6

// startBroker starts a broker with its data below parent, or returns nil and what is missing.
func startBroker(ctx context.Context, parts, parent string) (k *broker, missing string, err error) {
	k = &broker{libs: filepath.Join(parts, "kafka", "libs"), ended: make(chan struct{})}
	if _, err := os.Stat(k.libs); errors.Is(err, fs.ErrNotExist) {
		return nil, "Kafka (.ci/parts.sh kafka installs it)", nil
	}
	if k.java, err = exec.LookPath("java"); errors.Is(err, exec.ErrNotFound) {
		return nil, "Kafka (no java on the PATH)", nil
	}
	if err != nil {
		return nil, "", err
	}
	if k.folder, err = os.MkdirTemp(parent, "sluice-bench-kafka-"); err != nil {
		return nil, "", err
	}
	if err := k.start(ctx); err != nil {
		stopped := k.stop() // nothing is written into output any more
		return nil, "", errors.Join(fmt.Errorf("start the broker: %w\n%s", err, &k.output), stopped)
	}
	return k, "", nil
}

func (k *broker) start(ctx context.Context) error {
	addresses, err := freeAddresses()
	if err != nil {
		return err
	}
	k.address = addresses[0]
	file := filepath.Join(k.folder, "server.properties")
	text := fmt.Sprintf(brokerProperties, addresses[0], addresses[1], filepath.Join(k.folder, "data"), kafkaPartitions)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	format := k.class(ctx, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", file)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format the storage: %w\n%s", err, out)
	}
	return k.serve(ctx, file)
}

// freeAddresses returns two loopback addresses that nobody listens on.
func freeAddresses() (addresses [2]string, err error) {
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return addresses, err
		}
		addresses[i] = l.Addr().String()
		defer l.Close() // once both are chosen: until then the first isn't free
	}
	return addresses, nil
}

// serve starts the broker and waits until it answers.
func (k *broker) serve(ctx context.Context, properties string) error {
	k.cmd = k.class(context.WithoutCancel(ctx), "kafka.Kafka", properties)
	k.cmd.Stdout, k.cmd.Stderr = &k.output, &k.output
	if err := k.cmd.Start(); err != nil {
		return err
	}
	go func() {
		k.err = k.cmd.Wait()
		close(k.ended)
	}()
	var err error
	if k.client, err = kgo.NewClient(kgo.SeedBrokers(k.address), kgo.DialTimeout(2*time.Second), kgo.RetryTimeout(2*time.Second)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		_, err := kadm.NewClient(k.client).BrokerMetadata(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-k.ended:
			return fmt.Errorf("it ended: %w", k.err)
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// class returns a command that runs one of Kafka's classes.
func (k *broker) class(ctx context.Context, class string, args ...string) *exec.Cmd {
	return command(ctx, k.java, append([]string{"-Xmx1g", "-Dlog4j2.level=ERROR", "-Dlog4j2.disable.jmx=true", "-cp", k.libs + "/*", class}, args...)...)
}

// stop ends the broker and removes its data.
func (k *broker) stop() error {
	if k.client != nil {
		k.client.Close()
	}
	if k.cmd != nil && k.cmd.Process != nil {
		_ = k.cmd.Process.Kill() // nothing of it is needed any more; it may have ended
		<-k.ended
	}
	return os.RemoveAll(k.folder)
}

// cpu returns what the broker has taken so far.
func (k *broker) cpu() (time.Duration, error) {
	u, _, err := readProcess(k.cmd.Process.Pid)
	return u.cpu(), err
}
