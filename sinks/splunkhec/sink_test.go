package splunkhec

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/realpart/hec"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "t0ken-0f-the-test"

func options() hec.Options {
	return hec.Options{AckAfter: 1, Tokens: map[string]hec.Token{
		token: {Ack: true, Indexes: []string{"main"}}, "plain": {}, "off": {Disabled: true},
	}}
}

func config(s *hec.Server, more string) sinks.Config {
	return sinks.Config{
		Settings: fmt.Appendf(nil, `{"endpoint": %q, "token": %q%s}`, s.URL, token, more), Source: "elsa", Streams: []sinks.Stream{sinktest.Stream()},
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

func body(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var object struct {
		Body string `json:"body"`
		Raw  []byte `json:"body_raw"`
	}
	err := json.Unmarshal(raw, &object)
	if object.Raw != nil {
		return string(object.Raw), err
	}
	return object.Body, err
}

// arrived returns the bodies that a receiver keeps, one for each record ID, and how many came again.
func arrived(s *hec.Server) (bodies []string, repeats int, err error) {
	byID := map[string]string{}
	for _, e := range s.Events() {
		text, err := body(e.Event)
		if err != nil {
			return nil, 0, err
		}
		id := e.Fields[fieldID]
		was, again := byID[id]
		if id == "" || again && was != text {
			return nil, 0, fmt.Errorf("ID %q of %q and %q", id, was, text)
		}
		if again {
			repeats++
		}
		byID[id] = text
	}
	for _, text := range byID {
		bodies = append(bodies, text)
	}
	slices.Sort(bodies)
	return bodies, repeats, nil
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Driver {
		server := hec.Start(t, options())
		return sinktest.Driver{
			AtLeastOnce: true,
			Open: func(commitlog.FS, string) (sinks.Sink, error) {
				return Definition.Open(t.Context(), config(server, `, "batch_size": "16KiB"`))
			},
			Visible: func(commitlog.FS, string) ([]string, error) {
				bodies, repeats, err := arrived(server)
				if repeats > 0 {
					t.Errorf("%d repeats", repeats)
				}
				return bodies, err
			},
		}
	})
}

// TestKilled kills the receiver before it has acknowledged: what it had taken is gone, and comes again.
func TestKilled(t *testing.T) {
	server := hec.Start(t, options())
	k := open(t, config(server, ""))
	patience := k.settings.AckTimeout
	k.settings.AckTimeout = setting.Duration(100 * time.Millisecond)
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 300)
	for _, down := range []bool{true, false} {
		tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := sinktest.Append(t.Context(), tx, s, bodies); err != nil {
			t.Fatal(err)
		}
		server.Kill()
		if !down {
			server.Restart()
		}
		if _, err := tx.Commit(t.Context(), sinktest.Account(bodies)); fault.KindOf(err) != fault.Transient || fault.HintOf(err) == "" {
			t.Errorf("down %v: %v, want an error of kind Transient with a hint", down, err)
		}
		if down {
			server.Restart()
		}
	}
	k.settings.AckTimeout = patience
	if _, err := sinktest.Write(t.Context(), k, s, bodies); err != nil {
		t.Fatal(err)
	}
	got, _, err := arrived(server)
	slices.Sort(bodies)
	if diff := cmp.Diff(bodies, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestRefused has events that the collector doesn't take alone, with their number and without.
func TestRefused(t *testing.T) {
	for _, prior := range []bool{false, true} {
		o := options()
		o.KeepsPrior = prior
		o.Refuse = func(e hec.Event) bool { return strings.Contains(string(e.Event), "bad") }
		server := hec.Start(t, o)
		k := open(t, config(server, ""))
		s := sinktest.Hours("one", 0, 1)
		tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		all := []string{"a", "bad 1", "", " ", "c", "bad 2", "bad 3", "d\x00"}
		b := sinktest.Batch(memory.DefaultAllocator, s, 0, all)
		rejected, err := tx.Append(t.Context(), b)
		b.Records.Release()
		if err != nil {
			t.Fatal(err)
		}
		var rows []int
		for _, r := range rejected {
			rows = append(rows, r.Row)
		}
		if !slices.Equal(rows, []int{1, 5, 6}) {
			t.Errorf("refused are %v", rejected)
		}
		a := sinks.Account{Read: flow.Sum{Rows: 8}, Delivered: flow.Sum{Rows: 5}, Dead: flow.Sum{Rows: 3}}
		if _, err := tx.Commit(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		want := []string{"", " ", "a", "c", "d\x00"}
		if got, _, err := arrived(server); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestBusyAcks has a collector that is too busy to say what it has indexed while events come: no reason to send them all again.
func TestBusyAcks(t *testing.T) {
	o := options()
	var busy int
	o.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/ack") || busy == 3 {
			return false
		}
		busy++
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"text":"Server is busy","code":9}`))
		return true
	}
	server := hec.Start(t, o)
	k := open(t, config(server, `, "batch_size": "1KiB"`))
	s := sinktest.Hours("one", 0, 1)
	bodies := sinktest.Bodies(s, 300)
	if _, err := sinktest.Write(t.Context(), k, s, bodies); err != nil || busy < 3 {
		t.Fatalf("%v, after %d refused questions", err, busy)
	}
	if got, repeats, err := arrived(server); err != nil || len(got) != len(bodies) || repeats > 0 {
		t.Errorf("%d records of %d, %d of them again, %v", len(got), len(bodies), repeats, err)
	}
}

// TestBusy has a collector that is busy for a while.
func TestBusy(t *testing.T) {
	o := options()
	busy := 2
	o.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		if busy--; busy < 0 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"text":"Server is busy","code":9}`))
		return true
	}
	server := hec.Start(t, o)
	k := open(t, config(server, ""))
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
		t.Fatal(err)
	}
}

func TestOnline(t *testing.T) {
	server := hec.Start(t, options())
	for _, tt := range []struct {
		name, token, more string
		kind              fault.Kind
		want              string
	}{
		{"ack", token, "", 0, "acknowledges"},
		{"plain", "plain", `, "ack": false`, 0, "takes the token"},
		{"no ack", "plain", "", fault.Config, "ack: false"},
		{"ack wanted", token, `, "ack": false`, fault.Config, "ack: true"},
		{"wrong token", "wr0ng", "", fault.Auth, "is the token right"},
		{"disabled", "off", "", fault.Auth, "enabled"},
	} {
		c := config(server, "")
		c.Settings = fmt.Appendf(nil, `{"endpoint": %q, "token": %q%s}`, server.URL, tt.token, tt.more)
		got, err := Definition.Online(t.Context(), c)
		if err != nil {
			got = err.Error() + " " + fault.HintOf(err)
		}
		if (err != nil) != (tt.kind != 0) || fault.KindOf(err) != tt.kind || !strings.Contains(got, tt.want) || strings.Contains(got, tt.token) {
			t.Errorf("%s: %q (kind %s), want %q and kind %s", tt.name, got, fault.KindOf(err), tt.want, tt.kind)
		}
	}
	k := open(t, config(server, `, "index": "other"`))
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "index") {
		t.Errorf("another index: %v", err)
	}
	if got := server.Events(); len(got) > 0 {
		t.Errorf("%v were written", got)
	}
}

// TestChannels has one channel for slices one after another, and none that a failed slice had.
func TestChannels(t *testing.T) {
	server := hec.Start(t, options())
	k := open(t, config(server, ""))
	for hour := range 5 {
		s := sinktest.Hours("one", hour, hour+1)
		if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Channels(); n != 1 {
		t.Errorf("%d channels for five slices", n)
	}
	server.Set(func(o *hec.Options) { o.AckAfter = -1 })
	patience := k.settings.AckTimeout
	k.settings.AckTimeout = setting.Duration(50 * time.Millisecond)
	s := sinktest.Hours("one", 5, 6)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); fault.KindOf(err) != fault.Transient || !strings.Contains(fault.HintOf(err), "sticky") {
		t.Errorf("never acknowledged: %v", err)
	}
	server.Set(func(o *hec.Options) { o.AckAfter = 0 })
	k.settings.AckTimeout = patience
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
		t.Fatal(err)
	}
	if n := server.Channels(); n != 2 {
		t.Errorf("%d channels, want one for those that succeeded and one after the failure", n)
	}
}

// TestAnswers holds what each answer makes of a slice: Splunk's codes with their statuses, and what may stand before it.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		header string // Retry-After
		kind   fault.Kind
		want   string // in error and hint
	}{
		{"token disabled", 403, `{"text":"Token disabled","code":1}`, "", fault.Auth, "is the token right"},
		{"token is required", 401, `{"text":"Token is required","code":2}`, "", fault.Auth, "is the token right"},
		{"invalid token as a bad request", 400, `{"text":"Invalid token","code":21}`, "", fault.Auth, "is the token right"},
		{"incorrect index", 400, `{"text":"Incorrect index","code":7,"invalid-event-number":1}`, "", fault.Config, "token's indexes"},
		{"internal", 500, `{"text":"Internal server error","code":8}`, "", fault.Transient, "code 8"},
		{"no channel", 400, `{"text":"Data channel is missing","code":10}`, "", fault.Config, "ack: true"},
		{"invalid channel", 400, `{"text":"Invalid data channel","code":11}`, "", fault.Config, "X-Splunk-Request-Channel"},
		{"busy for long", 503, `{"text":"Server is busy","code":9}`, "3600", fault.Throttled, "queues are full"},
		{"at capacity", 429, `{"text":"HEC queue is at capacity and cannot process any more requests","code":26}`, "3600", fault.Throttled, "code 26"},
		{"bad gateway", 502, "<html>bad gateway</html>", "", fault.Transient, "<html>bad gateway"},
		{"a login page", 200, "<html>log in</html>", "", fault.Config, "as no collector does"},
		{"another API", 200, `{"status":"ok"}`, "", fault.Config, "as no collector does"},
		{"no content", 204, "", "", fault.Config, "as no collector does"},
		{"a refusal as success", 200, `{"text":"Incorrect index","code":7}`, "", fault.Config, "token's indexes"},
		{"too large, whatever the size", 413, "<html>413</html>", "", fault.Config, "max_content_length"},
		{"redirect", 302, "", "", fault.Config, "redirects aren't followed"},
		{"a port for TLS", 400, "Client sent an HTTP request to an HTTPS server.\n", "", fault.Config, "https://"},
		{"not found", 404, `{"text":"The requested URL was not found on this server.","code":404}`, "", fault.Config, "port 8088"},
		{"tells the token", 401, "who is " + token + "?", "", fault.Auth, "who is ***?"},
	} {
		for _, ack := range []bool{true, false} {
			o := options()
			o.Before = func(w http.ResponseWriter, _ *http.Request) bool {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.Header().Set("Location", "https://elsewhere/")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
				return true
			}
			k := open(t, config(hec.Start(t, o), fmt.Sprintf(`, "ack": %v`, ack)))
			s := sinktest.Hours("one", 0, 1)
			_, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3))
			text := fmt.Sprint(err) + " " + fault.HintOf(err)
			if fault.KindOf(err) != tt.kind || !strings.Contains(text, tt.want) || strings.Contains(text, token) {
				t.Errorf("%s, ack %v: %s (kind %s), want %q and kind %s", tt.name, ack, text, fault.KindOf(err), tt.want, tt.kind)
			}
		}
	}
}

// TestWarned has a collector that takes the events and says that it will soon take none.
func TestWarned(t *testing.T) {
	o := options()
	o.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(`{"text":"HEC queue is approaching its capacity limit","code":24}`))
		return true
	}
	k := open(t, config(hec.Start(t, o), `, "ack": false`))
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 3)); err != nil {
		t.Error(err)
	}
}
