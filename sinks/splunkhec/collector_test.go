package splunkhec

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/sluice-io/sluice/internal/realpart/otelcol"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

// The OpenTelemetry Collector's receiver for this protocol is another's work: with its own reading of events, channels, acknowledgements,
// packed bodies, tokens and TLS.

func collectorConfig(c *otelcol.Collector, more string) sinks.Config {
	return sinks.Config{
		Settings: fmt.Appendf(nil, `{"endpoint": %q, "token": %q%s}`, c.HEC, token, more), Source: "elsa", Streams: []sinks.Stream{sinktest.Stream()},
	}
}

// behind returns the bodies that came out behind a collector, one for each record ID, and how many came again.
func behind(c *otelcol.Collector) (bodies []string, repeats int, err error) {
	byID := map[string]string{}
	for _, r := range c.Logs() {
		for _, s := range r.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				id := value(l.GetAttributes(), fieldID).GetStringValue()
				text := l.GetBody().GetStringValue()
				if object := l.GetBody().GetKvlistValue(); object != nil {
					text = value(object.GetValues(), "body").GetStringValue()
				}
				was, again := byID[id]
				if id == "" || again && was != text {
					return nil, 0, fmt.Errorf("ID %q of %q and %q", id, was, text)
				}
				if again {
					repeats++
				}
				byID[id] = text
			}
		}
	}
	for _, text := range byID {
		bodies = append(bodies, text)
	}
	slices.Sort(bodies)
	return bodies, repeats, nil
}

func value(all []*common.KeyValue, key string) *common.AnyValue {
	for _, a := range all {
		if a.GetKey() == key {
			return a.GetValue()
		}
	}
	return nil
}

func TestCollectorConformance(t *testing.T) {
	for _, compression := range []string{"gzip", "none"} {
		t.Run(compression, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Driver {
				var server *otelcol.Collector
				return sinktest.Driver{
					AtLeastOnce: true,
					Open: func(commitlog.FS, string) (sinks.Sink, error) {
						if server == nil {
							server = otelcol.Start(t, otelcol.Options{HECToken: token})
						}
						return Definition.Open(t.Context(), collectorConfig(server, `, "batch_size": "16KiB", "compression": "`+compression+`"`))
					},
					Visible: func(commitlog.FS, string) ([]string, error) {
						if server == nil {
							return nil, nil
						}
						bodies, repeats, err := behind(server)
						if repeats > 0 {
							t.Errorf("%d repeats", repeats)
						}
						return bodies, err
					},
				}
			})
		})
	}
}

// TestCollectorEvent has what the other side understands of an event.
func TestCollectorEvent(t *testing.T) {
	server := otelcol.Start(t, otelcol.Options{HECToken: token})
	c := collectorConfig(server, `, "host": "h-{partition}", "source": "s", "sourcetype": "t", "index": "i"`)
	k := open(t, c)
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, []string{"the \"line\"\u00fc"}); err != nil {
		t.Fatal(err)
	}
	logs := server.Logs()
	if len(logs) != 1 {
		t.Fatalf("%d resources", len(logs))
	}
	got := map[string]string{}
	for _, a := range logs[0].GetResource().GetAttributes() {
		got[a.GetKey()] = a.GetValue().GetStringValue()
	}
	record := logs[0].GetScopeLogs()[0].GetLogRecords()[0]
	for _, a := range record.GetAttributes() {
		got[a.GetKey()] = a.GetValue().GetStringValue()
	}
	got["body"], got["time"] = record.GetBody().GetStringValue(), fmt.Sprint(record.GetTimeUnixNano())
	want := map[string]string{
		"host.name": "h-one", "com.splunk.source": "s", "com.splunk.sourcetype": "t", "com.splunk.index": "i", "record_id": got["record_id"],
		"stream": "events", "log_id": "one", "k": "0", "body": "the \"line\"\u00fc", "time": fmt.Sprint(s.From.UnixNano()),
	}
	if diff := cmp.Diff(want, got); diff != "" || got["record_id"] == "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCollectorDown has a collector that can't pass on what it takes, one that is killed, and one that comes back.
func TestCollectorDown(t *testing.T) {
	server := otelcol.Start(t, otelcol.Options{HECToken: token})
	k := open(t, collectorConfig(server, ""))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 300)
	failed := func(what string) {
		t.Helper()
		if _, err := sinktest.Write(t.Context(), k, s, bodies); fault.KindOf(err) != fault.Transient || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, want an error of kind Transient with a hint", what, err)
		}
	}
	server.Fail(http.StatusInternalServerError)
	failed("nothing behind it")
	server.Fail(0)
	server.Kill()
	failed("killed")
	server.Restart(t)
	if _, err := sinktest.Write(t.Context(), k, s, bodies); err != nil {
		t.Fatal(err)
	}
	got, _, err := behind(server)
	slices.Sort(bodies)
	if diff := cmp.Diff(bodies, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestCollectorTLS proves the collector's access over TLS with a client certificate, and has everything that goes wrong with them.
func TestCollectorTLS(t *testing.T) {
	server := otelcol.Start(t, otelcol.Options{HECToken: token, TLS: true})
	quoted := func(name string) string { return fmt.Sprintf("%q", name) }
	ca, pair := `"ca_file": `+quoted(server.CAFile), `"cert_file": `+quoted(server.CertFile)+`, "key_file": `+quoted(server.KeyFile)
	plain := strings.Replace(server.HEC, "https://", "http://", 1)
	for _, tt := range []struct {
		name, endpoint, token, tls string
		kind                       fault.Kind
		want                       string // in what was proved, or in error and hint
	}{
		{"all", server.HEC, token, ca + ", " + pair, 0, "takes the token and acknowledges"},
		{"other address", server.HEC, token, ca + ", " + pair + `, "server_name": "localhost"`, 0, "acknowledges"},
		{"trusts anything", server.HEC, token, pair + `, "insecure_skip_verify": true`, 0, "acknowledges"},
		{"unknown authority", server.HEC, token, pair, fault.Config, "tls.ca_file"},
		{"other name", server.HEC, token, ca + ", " + pair + `, "server_name": "splunk.example.com"`, fault.Config, "tls.server_name"},
		{"no client certificate", server.HEC, token, ca, fault.Config, "tls.cert_file"},
		{"wrong token", server.HEC, "wr0ng", ca + ", " + pair, fault.Auth, "is the token right"},
		{"plain", plain, token, "", fault.Config, "https"},
	} {
		c := sinks.Config{
			Settings: json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "token": %q, "tls": {%s}}`, tt.endpoint, tt.token, tt.tls)),
			Source:   "elsa", Streams: []sinks.Stream{sinktest.Stream()}, Base: filepath.Dir(server.CAFile),
		}
		got, err := Definition.Online(t.Context(), c)
		for tries := 0; fault.KindOf(err) == fault.Transient && tries < 20; tries++ {
			got, err = Definition.Online(t.Context(), c) // the reset of a connection may overtake the alert that says why
		}
		if err != nil {
			got = err.Error() + " " + fault.HintOf(err)
		}
		if (err != nil) != (tt.kind != 0) || fault.KindOf(err) != tt.kind || !strings.Contains(got, tt.want) || strings.Contains(got, tt.token) {
			t.Errorf("%s: %q (kind %s), want %q and kind %s", tt.name, got, fault.KindOf(err), tt.want, tt.kind)
		}
		if err == nil {
			k := open(t, c)
			if _, err := sinktest.Write(context.Background(), k, sinktest.Hours(tt.name, 0, 1), []string{tt.name}); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
	if got, _, err := behind(server); err != nil || !slices.Equal(got, []string{"all", "other address", "trusts anything"}) {
		t.Errorf("%q, %v", got, err)
	}
}
