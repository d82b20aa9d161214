package main

import (
	"strings"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/hec"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestReceiverDown begins with a collector that is down: the run says so, tries again, and loses nothing; a second run sends nothing.
func TestReceiverDown(t *testing.T) {
	const token = "t0ken-0f-the-receiver"
	server := hec.Start(t, hec.Options{Tokens: map[string]hec.Token{token: {Ack: true}}, MaxContent: 16 << 20})
	server.Kill()
	r := seededRig(t, vendorsim.Options{}, 200)
	r.sinks = append(r.sinks, obj{"name": "siem", "type": "splunk_hec", "config": obj{"endpoint": server.URL, "token": token}})
	r.write()
	c := r.prepare("run", "--first-run").start()
	c.await("an error of the sink", func() bool { return strings.Contains(c.stderr.String(), "send to the collector") })
	server.Restart()
	c.wait()
	c.mustExit(0)
	mustNotHold(t, "stderr", c.stderr.String())
	if strings.Contains(c.stderr.String(), token) {
		t.Error("the token is in the log")
	}
	events := server.Events()
	if len(events) == 0 {
		t.Fatal("nothing arrived")
	}
	requests := server.Requests()
	r.run(0, "run")
	if n := server.Requests(); n != requests {
		t.Errorf("the second run made %d requests", n-requests)
	}
}
