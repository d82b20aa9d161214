package otlp

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/realpart/otelcol"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(format string, args ...any) sinks.Config {
	return sinks.Config{
		Settings: fmt.Appendf(nil, format, args...), Pipeline: "prod", Source: "elsa", Sluice: "1.2.3", Streams: []sinks.Stream{sinktest.Stream()},
	}
}

func open(t *testing.T, c sinks.Config) *Sink {
	t.Helper()
	k, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// to are the settings for one of a collector's receivers.
func to(c *otelcol.Collector, protocol, more string) string {
	endpoint := c.HTTP
	if protocol == "grpc" {
		endpoint = "http://" + c.GRPC
	}
	return fmt.Sprintf(`{"endpoint": %q, "protocol": %q%s}`, endpoint, protocol, more)
}

var protocols = []string{"grpc", "http"}

func text(v *common.AnyValue) string {
	if b := v.GetBytesValue(); b != nil {
		return string(b)
	}
	return v.GetStringValue()
}

// arrived returns the bodies behind a collector, one for each record ID, and how many came again.
func arrived(c *otelcol.Collector) (bodies []string, repeats int, err error) {
	byID := map[string]string{}
	for _, r := range c.Logs() {
		for _, s := range r.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				id := ""
				for _, a := range l.GetAttributes() {
					if a.GetKey() == attributeUID {
						id = a.GetValue().GetStringValue()
					}
				}
				body := text(l.GetBody())
				was, again := byID[id]
				if id == "" || again && was != body {
					return nil, 0, fmt.Errorf("ID %q of %q and %q", id, was, body)
				}
				if again {
					repeats++
				}
				byID[id] = body
			}
		}
	}
	for _, body := range byID {
		bodies = append(bodies, body)
	}
	slices.Sort(bodies)
	return bodies, repeats, nil
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Driver {
				var collector *otelcol.Collector
				return sinktest.Driver{
					AtLeastOnce: true,
					Open: func(commitlog.FS, string) (sinks.Sink, error) {
						if collector == nil {
							collector = otelcol.Start(t, otelcol.Options{})
						}
						return Definition.Open(t.Context(), config("%s", to(collector, protocol, `, "batch_size": "16KiB"`)))
					},
					Visible: func(commitlog.FS, string) ([]string, error) {
						bodies, repeats, err := arrived(collector)
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

// TestKilled kills the collector in the middle of a slice: the slice fails, is sent again with the same IDs, and nothing is missing.
func TestKilled(t *testing.T) {
	collector := otelcol.Start(t, otelcol.Options{})
	for _, protocol := range protocols {
		k := open(t, config("%s", to(collector, protocol, "")))
		s := sinktest.Hours(protocol, 0, 1)
		bodies := sinktest.Bodies(s, 300)
		tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := sinktest.Append(t.Context(), tx, s, bodies[:100]); err != nil {
			t.Fatal(err)
		}
		collector.Kill()
		if err := sinktest.Append(t.Context(), tx, s, bodies[100:]); fault.KindOf(err) != fault.Transient || fault.HintOf(err) == "" {
			t.Fatalf("%s: a collector that was killed: %v, want an error of kind Transient with a hint", protocol, err)
		}
		if _, err := tx.Commit(t.Context(), sinktest.Account(bodies)); err == nil {
			t.Fatal("commit after an error")
		}
		collector.Restart(t)
		if err := until(func() error { _, err := sinktest.Write(t.Context(), k, s, bodies); return err }); err != nil {
			t.Fatal(err)
		}
		got, repeats, err := arrived(collector)
		if err != nil {
			t.Fatal(err)
		}
		got = slices.DeleteFunc(got, func(b string) bool { return !strings.HasPrefix(b, s.ID.String()) })
		slices.Sort(bodies)
		if diff := cmp.Diff(bodies, got); diff != "" || repeats < 100 {
			t.Errorf("%s: %d repeats, bodies (-want +got):\n%s", protocol, repeats, diff)
		}
	}
}

// until tries again, as a pipeline does.
func until(do func() error) error {
	for deadline := time.Now().Add(time.Minute); ; {
		err := do()
		if err == nil || fault.KindOf(err) != fault.Transient && fault.KindOf(err) != fault.Throttled || time.Now().After(deadline) {
			return err
		}
		<-time.After(50 * time.Millisecond)
	}
}

// TestRefusing has a collector that is out of memory by its own account, and one whose own target says when to come again.
func TestRefusing(t *testing.T) {
	full := otelcol.Start(t, otelcol.Options{MemoryLimit: "limit_mib: 1, spike_limit_mib: 0"})
	held := otelcol.Start(t, otelcol.Options{})
	for _, protocol := range protocols {
		s := sinktest.Hours(protocol, 0, 1)
		bodies := sinktest.Bodies(s, 50)
		k := open(t, config("%s", to(full, protocol, "")))
		// The limiter looks at its memory now and then: at first it may take what comes.
		var err error
		for deadline := time.Now().Add(time.Minute); err == nil && time.Now().Before(deadline); {
			_, err = sinktest.Write(t.Context(), k, s, bodies[:1])
		}
		if kind := fault.KindOf(err); kind != fault.Transient && kind != fault.Throttled || !strings.Contains(err.Error(), "memory") && protocol == "grpc" {
			t.Errorf("%s: %v, want it to be tried again", protocol, err)
		}

		k = open(t, config("%s", to(held, protocol, "")))
		held.Fail(http.StatusTooManyRequests)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err = sinktest.Write(ctx, k, s, bodies)
		cancel()
		if err == nil {
			t.Errorf("%s: what the collector couldn't pass on counts as delivered", protocol)
		}
		held.Fail(0)
		if err := until(func() error { _, err := sinktest.Write(t.Context(), k, s, bodies); return err }); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

// TestTooLarge has a collector that takes 1 MiB: what is larger alone becomes a dead letter, its neighbours arrive.
func TestTooLarge(t *testing.T) {
	collector := otelcol.Start(t, otelcol.Options{MaxReceive: 1})
	k := open(t, config("%s", to(collector, "grpc", `, "batch_size": "16MiB", "compression": "none"`)))
	s := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "b", strings.Repeat("c", 600<<10), strings.Repeat("d", 600<<10)}
	b := sinktest.Batch(memory.DefaultAllocator, s, 0, slices.Concat(want[:2], []string{strings.Repeat("x", 2<<20)}, want[2:]))
	rejected, err := tx.Append(t.Context(), b)
	b.Records.Release()
	if err != nil || len(rejected) != 1 || rejected[0].Row != 2 || !strings.Contains(rejected[0].Reason, "too large") {
		t.Fatalf("%v, %v", rejected, err)
	}
	a := sinks.Account{Read: flow.Sum{Rows: 5}, Delivered: flow.Sum{Rows: 4}, Dead: flow.Sum{Rows: 1}}
	if _, err := tx.Commit(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if got, _, err := arrived(collector); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d arrived, %v", len(got), err)
	}
}

func TestTLS(t *testing.T) {
	collector := otelcol.Start(t, otelcol.Options{TLS: true})
	for protocol, endpoint := range map[string]string{"grpc": "https://" + collector.GRPC, "http": collector.HTTP} {
		for _, tt := range []struct{ name, tls, want string }{
			{"verified", fmt.Sprintf(`{"ca_file": %q}`, collector.CAFile), ""},
			{"other name", fmt.Sprintf(`{"ca_file": %q, "server_name": "example.com"}`, collector.CAFile), "tls.server_name"},
			{"unknown authority", `{}`, "tls.ca_file"},
		} {
			k := open(t, config(`{"endpoint": %q, "protocol": %q, "tls": %s}`, endpoint, protocol, tt.tls))
			s := sinktest.Hours(protocol, 0, 1)
			_, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3))
			if (err == nil) != (tt.want == "") || err != nil && (fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), tt.want)) {
				t.Errorf("%s, %s: %v (hint %q), want %q", protocol, tt.name, err, fault.HintOf(err), tt.want)
			}
		}
	}
	if got, _, err := arrived(collector); err != nil || len(got) != 6 {
		t.Errorf("%d arrived, %v", len(got), err)
	}
}

func TestOnline(t *testing.T) {
	collector := otelcol.Start(t, otelcol.Options{})
	for _, tt := range []struct {
		name, settings string
		kind           fault.Kind
		want           string
	}{
		{"grpc", to(collector, "grpc", ""), 0, "takes OTLP logs"},
		{"http", to(collector, "http", ""), 0, "takes OTLP logs"},
		{"grpc, nobody listens", `{"endpoint": "http://127.0.0.1:1"}`, fault.Transient, "is the receiver running"},
		{"http, nobody listens", `{"endpoint": "http://127.0.0.1:1", "protocol": "http"}`, fault.Transient, "is the receiver running"},
		{"grpc at the port for http", fmt.Sprintf(`{"endpoint": %q}`, collector.HTTP), fault.Config, "protocol: http"},
		{"http at the port for grpc", fmt.Sprintf(`{"endpoint": "http://%s", "protocol": "http"}`, collector.GRPC), fault.Config, "protocol: grpc"},
		{"another path", fmt.Sprintf(`{"endpoint": "%s/v2/logs", "protocol": "http"}`, collector.HTTP), fault.Config, "/v1/logs"},
		{"tls at a plain port, grpc", fmt.Sprintf(`{"endpoint": "https://%s"}`, collector.GRPC), fault.Config, "TLS"},
		{"tls at a plain port, http", fmt.Sprintf(`{"endpoint": %q, "protocol": "http"}`, strings.Replace(collector.HTTP, "http:", "https:", 1)), fault.Config, "TLS"},
	} {
		got, err := Definition.Online(t.Context(), config("%s", tt.settings))
		if err != nil {
			got = err.Error() + " " + fault.HintOf(err)
		}
		if (err != nil) != (tt.kind != 0) || fault.KindOf(err) != tt.kind || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, kind %s, want %q and kind %s", tt.name, got, fault.KindOf(err), tt.want, tt.kind)
		}
	}
	if got := collector.Logs(); len(got) > 0 {
		t.Errorf("%v were written", got)
	}
}
