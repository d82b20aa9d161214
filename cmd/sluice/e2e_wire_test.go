package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-io/sluice/internal/realpart/hec"
	"github.com/sluice-io/sluice/internal/realpart/opensearch"
	"github.com/sluice-io/sluice/internal/realpart/otelcol"
	"github.com/sluice-io/sluice/internal/realpart/rsyslog"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

const wireToken = "t0ken-0f-the-receiver"

// wiredSink is a sink that sends to a receiver, and what the receiver tells.
type wiredSink struct {
	sink     obj
	received func() ([]wireRecord, error) // all that is there
	seen     func() int                   // how much has come, as far as it is cheap to know
	restart  func()                       // ends the receiver, kills it if it may be, and starts it again; nil: not in this test
	keeps    func(line string) string     // what the receiver leaves of a line; nil: all
}

// wireRecord is a record as a receiver has it.
type wireRecord struct{ id, log, line string }

var wires = map[string]func(t *testing.T) wiredSink{
	"splunk_hec":           strictWire,
	"splunk_hec-collector": collectorWire,
	"syslog":               syslogWire,
	"otlp-grpc":            func(t *testing.T) wiredSink { return otlpWire(t, "grpc") },
	"otlp-http":            func(t *testing.T) wiredSink { return otlpWire(t, "http") },
	"opensearch":           opensearchWire,
}

func strictWire(t *testing.T) wiredSink {
	s := hec.Start(t, hec.Options{Tokens: map[string]hec.Token{wireToken: {Ack: true}}, AckAfter: 1})
	return wiredSink{
		sink:     obj{"type": "splunk_hec", "config": obj{"endpoint": s.URL, "token": wireToken, "batch_size": "16KiB", "ack_timeout": "2s"}},
		received: func() ([]wireRecord, error) { return hecRecords(s.Events()) },
		seen:     s.Requests,
		restart:  func() { s.Kill(); s.Restart() },
	}
}

func collectorWire(t *testing.T) wiredSink {
	c := otelcol.Start(t, otelcol.Options{HECToken: wireToken})
	return wiredSink{
		sink:     obj{"type": "splunk_hec", "config": obj{"endpoint": c.HEC, "token": wireToken, "batch_size": "16KiB", "ack_timeout": "2s"}},
		received: func() ([]wireRecord, error) { return otlpRecords(c.Logs(), "record_id") },
		seen:     func() int { return len(c.Logs()) },
		restart:  func() { c.Kill(); c.Restart(t) },
	}
}

func otlpWire(t *testing.T, protocol string) wiredSink {
	c := otelcol.Start(t, otelcol.Options{})
	endpoint := c.HTTP
	if protocol == "grpc" {
		endpoint = "http://" + c.GRPC
	}
	return wiredSink{
		sink:     obj{"type": "otlp", "config": obj{"endpoint": endpoint, "protocol": protocol, "batch_size": "16KiB"}},
		received: func() ([]wireRecord, error) { return otlpRecords(c.Logs(), "log.record.uid") },
		seen:     func() int { return len(c.Logs()) },
		restart:  func() { c.Kill(); c.Restart(t) },
	}
}

func syslogWire(t *testing.T) wiredSink {
	s := rsyslog.StartWith(t, rsyslog.Options{Direct: true})
	return wiredSink{
		sink: obj{"type": "syslog", "config": obj{"address": s.Address, "max_message": "200KiB", "bom": "never"}},
		received: func() ([]wireRecord, error) {
			messages, err := s.Messages()
			if err != nil {
				return nil, err
			}
			return syslogRecords(messages)
		},
		seen:    s.Written,
		restart: func() { s.Stop(); s.Restart(t) },                                    // killed, it may have read what it hasn't written, and closes as if it had
		keeps:   func(line string) string { return strings.TrimSuffix(line, "\x00") }, // rsyslog drops a NUL at the end
	}
}

// opensearchWire doesn't restart its server, which takes half a minute.
func opensearchWire(t *testing.T) wiredSink {
	s := opensearch.Start(t)
	return wiredSink{
		sink:     obj{"type": "opensearch", "config": obj{"urls": []string{s.URL}, "index": "logs", "batch_bytes": "64KiB"}},
		received: func() ([]wireRecord, error) { return opensearchRecords(t.Context(), s.URL, "logs") },
		seen: func() int {
			n, err := opensearchWrites(t.Context(), s.URL, "logs")
			if err != nil {
				t.Error(err)
			}
			return n
		},
	}
}

// TestWires compares what each receiver got with what was served. First nothing goes wrong: each record is there once. Then host, plugin
// and receiver are ended at seeded random moments and what was left is run again: nothing is missing, nothing is there that
// wasn't served, and once the repeats are dropped by the ID that each record carries, each record is there once.
func TestWires(t *testing.T) {
	t.Parallel()
	for name, open := range wires {
		if name == "otlp-http" && os.Getenv("SLUICE_CHAOS_ROUNDS") == "" {
			continue // what differs from gRPC is the client alone, which the sink's own tests kill too
		}
		if name == "opensearch" && !testsize.Full() { // whose server takes half a minute to start, and is tested beside its sink
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testWire(t, open(t))
		})
	}
}

func testWire(t *testing.T, w wiredSink) {
	names := []string{"host", "plugin"}
	if w.restart != nil {
		names = append(names, "receiver")
	}
	rounds, seed := int(number(t, "SLUICE_CHAOS_ROUNDS", uint64(len(names)))), number(t, "SLUICE_CHAOS_SEED", 20261102)
	lines := max(testsize.Of(12_000, 4000), testsize.Of(2000, 1000)*(rounds+1))
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, uint64(len(t.Name()))))
	r := seededRig(t, vendorsim.Options{}, lines)
	r.pipeline["retry"] = obj{"attempts": 1000, "max_backoff": "200ms"}
	w.sink["name"] = "siem"
	r.sinks = append(r.sinks, w.sink)
	part := func(n int) time.Time { // each round has work of its own, so that there is something to kill
		return seedStart.Add(seedEnd.Sub(seedStart) * time.Duration(n) / time.Duration(rounds+1)).Truncate(time.Millisecond)
	}
	r.to = part(1)
	r.write()
	r.run(0, "run", "--first-run")
	r.mustHaveReceived(w, false)

	killed := map[string]int{}
	for round, victim := range victims(rnd, rounds, names...) {
		r.to = part(round + 2)
		r.write()
		before := w.seen()
		c := r.prepare("run").start()
		c.awaitOrEnd("a record", func() bool { return w.seen() > before })
		if !c.endsWithin(time.Duration(rnd.IntN(100)) * time.Millisecond) {
			killed[victim]++
		}
		switch victim {
		case "host":
			c.kill()
			continue
		case "plugin":
			for _, pid := range c.plugins() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended since
			}
		case "receiver":
			w.restart()
		}
		mustNotTell(t, c.wait()) // whether it could go on by itself is for other tests to say
	}
	t.Logf("killed at work: %v", killed)
	r.to = seedEnd
	r.write()
	mustNotTell(t, r.run(0, "run"))
	r.mustHaveReceived(w, true)
	before := w.seen()
	r.run(0, "run").mustSay("nothing to do")
	if now := w.seen(); now != before {
		t.Errorf("a run with nothing to do sent something: %d, before %d", now, before)
	}
}

// victims draws what is killed in each round; each of them comes once before any comes again.
func victims(rnd *rand.Rand, rounds int, names ...string) []string {
	var out []string
	for len(out) < rounds {
		for _, i := range rnd.Perm(len(names)) {
			out = append(out, names[i])
		}
	}
	return out[:rounds]
}

func mustNotTell(t *testing.T, c *command) {
	t.Helper()
	mustNotHold(t, "stderr", c.stderr.String())
	if strings.Contains(c.stderr.String(), wireToken) {
		t.Error("the token is in the log")
	}
}

// mustHaveReceived compares what a receiver has with what was served so far.
func (r *rig) mustHaveReceived(w wiredSink, repeats bool) {
	r.t.Helper()
	served := lineCounts{}
	n := 0
	for _, id := range r.logs {
		for line := range r.sim.Lines(id, seedStart, r.to) {
			text := string(line)
			if w.keeps != nil {
				text = w.keeps(text)
			}
			served.add([]byte(id+" "+text), 1)
			n++
		}
	}
	all, err := w.received()
	if err != nil {
		r.t.Fatal(err)
	}
	text := compareReceived(served, all, repeats)
	if text != "" {
		r.t.Fatalf("%d lines served, %d received: %s", n, len(all), text)
	}
	if repeats {
		r.t.Logf("%d lines served, %d received", n, len(all))
	}
}

// compareReceived says what is wrong with what was received, nothing if all is as it must be.
func compareReceived(served lineCounts, all []wireRecord, repeats bool) string {
	left := lineCounts{}
	for h, n := range served {
		left[h] = n
	}
	byID := map[string]wireRecord{}
	for _, x := range all {
		was, again := byID[x.id]
		switch {
		case x.id == "":
			return fmt.Sprintf("a record without an ID: %.200q", x.line)
		case again && was != x:
			return fmt.Sprintf("the ID %s has %.200q and %.200q", x.id, was.line, x.line)
		case again && !repeats:
			return fmt.Sprintf("a record came twice, and nothing had gone wrong: %.200q", x.line)
		case again:
			continue
		}
		byID[x.id] = x
		before := len(left)
		left.add([]byte(x.log+" "+x.line), -1)
		if len(left) > before {
			return fmt.Sprintf("log %s: %.200q was not served, or not as often", x.log, x.line)
		}
	}
	if len(left) > 0 {
		missing := 0
		for _, n := range left {
			missing += n
		}
		return fmt.Sprintf("%d lines are missing", missing)
	}
	return ""
}

// TestReceiverDown begins with a collector that is down: the run says so, tries again, and loses nothing; a second run sends nothing.
func TestReceiverDown(t *testing.T) {
	t.Parallel()
	server := hec.Start(t, hec.Options{Tokens: map[string]hec.Token{wireToken: {Ack: true}}, MaxContent: 16 << 20})
	server.Kill()
	r := seededRig(t, vendorsim.Options{}, 200)
	r.sinks = append(r.sinks, obj{"name": "siem", "type": "splunk_hec", "config": obj{"endpoint": server.URL, "token": wireToken}})
	r.write()
	c := r.prepare("run", "--first-run").start()
	c.await("an error of the sink", func() bool { return strings.Contains(c.stderr.String(), "send to the collector") })
	server.Restart()
	c.wait()
	c.mustExit(0)
	mustNotTell(t, c)
	if len(server.Events()) == 0 {
		t.Fatal("nothing arrived")
	}
	requests := server.Requests()
	r.run(0, "run")
	if n := server.Requests(); n != requests {
		t.Errorf("the second run made %d requests", n-requests)
	}
}
