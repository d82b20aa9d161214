package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/realpart/rsyslog"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(format string, args ...any) sinks.Config {
	return sinks.Config{Settings: fmt.Appendf(nil, format, args...), Pipeline: "prod", Source: "elsa", Streams: []sinks.Stream{sinktest.Stream()}}
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

// body takes a message apart: header, structured data, and what follows.
func body(message string) (id, text string, err error) {
	_, data, ok := strings.Cut(message, " [")
	if !ok {
		return "", "", fmt.Errorf("%q has no structured data", message)
	}
	quoted, end := false, -1
	for i := 0; i < len(data) && end < 0; i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted && (i+1 == len(data) || data[i+1] == ' '):
			end = i + 1
		}
	}
	if end < 0 {
		return "", "", fmt.Errorf("%q doesn't end its structured data", message)
	}
	if _, rest, ok := strings.Cut(data, `id="`); ok {
		id, _, _ = strings.Cut(rest, `"`)
	}
	return id, strings.TrimPrefix(strings.TrimPrefix(data[end:], " "), bom), nil
}

// settled waits until a server has as many different messages as are wanted, for it writes them after it has read them, and returns their
// bodies by ID and how many came again.
func settled(t testing.TB, s *rsyslog.Server, want int) (bodies []string, repeats int, err error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		messages, err := s.Messages()
		if err != nil {
			return nil, 0, err
		}
		byID := map[string]string{}
		for _, m := range messages {
			id, text, err := body(m)
			if err != nil {
				return nil, 0, err
			}
			if was, ok := byID[id]; ok && was != text {
				return nil, 0, fmt.Errorf("two records have the ID %s: %q and %q", id, was, text)
			}
			byID[id] = text
		}
		if len(byID) >= want || time.Now().After(deadline) {
			for _, text := range byID {
				bodies = append(bodies, text)
			}
			slices.Sort(bodies)
			return bodies, len(messages) - len(byID), nil
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestConformance(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secured), func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Driver {
				var server *rsyslog.Server
				var opened []*counting
				return sinktest.Driver{
					AtLeastOnce: true,
					Open: func(commitlog.FS, string) (sinks.Sink, error) {
						if server == nil {
							server = rsyslog.Start(t)
						}
						c := config(`{"address": %q}`, server.Address)
						if secured {
							c = config(`{"address": %q, "tls": {"ca_file": %q}}`, server.Secure, server.CAFile)
						}
						k, err := Definition.Open(t.Context(), c)
						if err != nil {
							return nil, err
						}
						opened = append(opened, &counting{Sink: k.(*Sink)})
						return opened[len(opened)-1], nil
					},
					Visible: func(commitlog.FS, string) ([]string, error) {
						rows := 0
						for _, k := range opened {
							rows += k.rows
						}
						bodies, repeats, err := settled(t, server, rows)
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

// counting counts what was committed, so that a reader knows what to wait for, and gives the receiver a moment after a connection that was
// reset: rsyslog 8.2302 may take its end for that of the next one, with which a connection then begins that it closes or takes for a plain one.
// A pipeline sends such a slice again; the suite doesn't.
type counting struct {
	*Sink
	rows int
}

// afterReset is how long the receiver has to see that a connection was reset.
const afterReset = 20 * time.Millisecond

func (k *counting) Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (sinks.Txn, error) {
	tx, err := k.Sink.Begin(ctx, s, attempt, schema)
	return &countingTxn{tx, k}, err
}

func (k *counting) Close() error {
	err := k.Sink.Close()
	time.Sleep(afterReset)
	return err
}

type countingTxn struct {
	sinks.Txn
	sink *counting
}

func (t *countingTxn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	r, err := t.Txn.Commit(ctx, a)
	t.sink.rows += int(r.Delivered.Rows)
	if err != nil {
		time.Sleep(afterReset)
	}
	return r, err
}

func (t *countingTxn) Abort() error {
	err := t.Txn.Abort()
	time.Sleep(afterReset)
	return err
}

// TestKilled kills the receiver in the middle of a slice, again and again: the slice fails, is sent again with the same IDs, and in the
// end nothing is missing.
func TestKilled(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secured), func(t *testing.T) {
			server := rsyslog.Start(t)
			c := config(`{"address": %q}`, server.Address)
			if secured {
				c = config(`{"address": %q, "tls": {"ca_file": %q, "server_name": "localhost"}}`, server.Secure, server.CAFile)
			}
			k := open(t, c)
			s := sinktest.Hours("one", 0, 1)
			bodies := sinktest.Bodies(s, 1000)
			for range 3 {
				tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
				if err != nil {
					t.Fatal(err)
				}
				if err := sinktest.Append(t.Context(), tx, s, bodies[:700]); err != nil {
					t.Fatal(err)
				}
				server.Kill()
				err = sinktest.Append(t.Context(), tx, s, bodies[700:])
				if err == nil {
					_, err = tx.Commit(t.Context(), sinktest.Account(bodies))
				}
				if err == nil || fault.KindOf(err) != fault.Transient {
					t.Fatalf("a receiver that was killed: %v, want an error of kind Transient", err)
				}
				if err := tx.Abort(); err != nil {
					t.Fatal(err)
				}
				if _, err := sinktest.Write(t.Context(), k, s, bodies); fault.KindOf(err) != fault.Transient || fault.HintOf(err) == "" {
					t.Errorf("nobody listens: %v, want an error of kind Transient with a hint", err)
				}
				server.Restart(t)
			}
			if _, err := sinktest.Write(t.Context(), k, s, bodies); err != nil {
				t.Fatal(err)
			}
			got, repeats, err := settled(t, server, len(bodies))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(bodies)
			if diff := cmp.Diff(bodies, got); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
			t.Logf("%d repeats with the IDs of the first", repeats)
		})
	}
}

// TestAwkward sends what lines may hold: rsyslog has each as one message, exactly.
func TestAwkward(t *testing.T) {
	server := rsyslog.Start(t)
	want := []string{"", "two\nlines", "ends in \r", "\xff\xfe not UTF-8", "tab\t bell\a", "\u00fcn\u00ef\u2192", "12 <34>1 - - - - - - looks framed", `]"\ ] [x@1 a="b"]`}
	for _, framing := range []string{"octet-counting", "lf"} {
		k := open(t, config(`{"address": %q, "framing": %q}`, server.Address, framing))
		s := sinktest.Hours(framing, 0, 1)
		tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
		if err != nil {
			t.Fatal(err)
		}
		b := awkward(s, want)
		rejected, err := tx.Append(t.Context(), b)
		b.Records.Release()
		if err != nil {
			t.Fatal(err)
		}
		var rows []int
		for _, r := range rejected {
			rows = append(rows, r.Row)
		}
		if wantRows := map[string][]int{"lf": {1}}[framing]; !slices.Equal(rows, wantRows) {
			t.Errorf("%s: rejected are %v, want rows %v", framing, rejected, wantRows)
		}
		a := sinks.Account{Read: flow.Sum{Rows: uint64(len(want))}, Dead: flow.Sum{Rows: uint64(len(rows))}}
		a.Delivered = a.Read.Minus(a.Dead)
		if _, err := tx.Commit(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	expected := slices.Concat(want, want[:1], want[2:])
	got, _, err := settled(t, server, len(expected))
	slices.Sort(expected)
	if diff := cmp.Diff(expected, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// awkward is a batch in which bodies that aren't UTF-8 have their bytes in body_raw.
func awkward(s flow.Slice, bodies []string) flow.Batch {
	texts := slices.Clone(bodies)
	for i, body := range bodies {
		texts[i] = strings.ToValidUTF8(body, "\ufffd")
	}
	b := sinktest.Batch(memory.DefaultAllocator, s, 0, texts)
	defer b.Records.Release()
	raw := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	defer raw.Release()
	for i, body := range bodies {
		if body == texts[i] {
			raw.AppendNull()
		} else {
			raw.Append([]byte(body))
		}
	}
	column := raw.NewArray()
	defer column.Release()
	cols := slices.Clone(b.Records.Columns())
	cols[4] = column
	b.Records = array.NewRecord(sinktest.Schema, cols, b.Records.NumRows())
	return b
}

func TestTooLarge(t *testing.T) {
	server := rsyslog.Start(t)
	k := open(t, config(`{"address": %q, "max_message": "1KiB"}`, server.Address))
	s := sinktest.Hours("one", 0, 1)
	tx, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	b := sinktest.Batch(memory.DefaultAllocator, s, 0, []string{"a", strings.Repeat("x", 1024), "b"})
	rejected, err := tx.Append(t.Context(), b)
	b.Records.Release()
	if err != nil || len(rejected) != 1 || rejected[0].Row != 1 || !strings.Contains(rejected[0].Reason, "max_message is 1024") {
		t.Fatalf("%v, %v", rejected, err)
	}
	one := flow.Sum{Rows: 1}
	if _, err := tx.Commit(t.Context(), sinks.Account{Read: one.Plus(one).Plus(one), Delivered: one.Plus(one), Dead: one}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := settled(t, server, 2); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOnline(t *testing.T) {
	server := rsyslog.Start(t)
	_, port, _ := net.SplitHostPort(server.Address)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := dead.Addr().String()
	_ = dead.Close()
	for _, tt := range []struct {
		name, settings string
		kind           fault.Kind
		want           string // in what was proved, or in error and hint
	}{
		{"plain", fmt.Sprintf(`{"address": "localhost:%s"}`, port), 0, "plain TCP"},
		{"secured", fmt.Sprintf(`{"address": %q, "tls": {"ca_file": %q}}`, server.Secure, server.CAFile), 0, "TLS 1.3"},
		{"nobody listens", fmt.Sprintf(`{"address": %q}`, nobody), fault.Transient, "is it running"},
		{"unknown authority", fmt.Sprintf(`{"address": %q, "tls": {"enabled": true}}`, server.Secure), fault.Config, "tls.ca_file"},
		{"other name", fmt.Sprintf(`{"address": %q, "tls": {"ca_file": %q, "server_name": "example.com"}}`, server.Secure, server.CAFile), fault.Config, "tls.server_name"},
		// Last, for a receiver on plain TCP takes the handshake for messages.
		{"plain port", fmt.Sprintf(`{"address": %q, "tls": {"enabled": true}, "timeout": "300ms"}`, server.Address), fault.Transient, "speak TLS"},
	} {
		if tt.name == "plain port" {
			if messages, err := server.Messages(); err != nil || len(messages) > 0 {
				t.Errorf("%q, %v were written", messages, err)
			}
		}
		got, err := Definition.Online(t.Context(), config("%s", tt.settings))
		if err != nil {
			got = err.Error() + " " + fault.HintOf(err)
		}
		if (err != nil) != (tt.kind != 0) || fault.KindOf(err) != tt.kind || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q and kind %s", tt.name, got, err, tt.want, tt.kind)
		}
	}
}

// TestClosesEarly has a receiver that closes before it has read everything, which must not read as a confirmation.
func TestClosesEarly(t *testing.T) {
	for name, serve := range map[string]func(c net.Conn){
		"at once":              func(c net.Conn) { _ = c.Close() },
		"after the first byte": func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); _ = c.Close() },
		"never":                func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			var conns []net.Conn
			serving.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					conns = append(conns, c)
					serve(c)
				}
			})
			k := open(t, config(`{"address": %q, "timeout": "300ms"}`, l.Addr().String()))
			s := sinktest.Hours("one", 0, 1)
			for range 5 {
				if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 30)); fault.KindOf(err) != fault.Transient || fault.HintOf(err) == "" {
					t.Errorf("%v, want an error of kind Transient with a hint", err)
				}
			}
			_ = l.Close()
			serving.Wait()
			for _, c := range conns {
				_ = c.Close()
			}
		})
	}
}

// TestEndsFirst has a receiver that ends its side before ours has ended: that confirms nothing, whatever it reads afterwards.
func TestEndsFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k, err := dial(t.Context(), l.Addr().String(), time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.abort()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := k.write(t.Context(), []byte("1 a")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-k.ended
	if err := k.finish(t.Context(), true); !errors.Is(err, errEarly) {
		t.Errorf("%v, want %v", err, errEarly)
	}
	if err := k.write(t.Context(), []byte("1 b")); !errors.Is(err, errEarly) {
		t.Errorf("%v, want %v", err, errEarly)
	}
}

// TestSent takes the other machine's acknowledgement for enough: a receiver that never closes.
func TestSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k := open(t, config(`{"address": %q, "confirm": "sent"}`, l.Addr().String()))
	s := sinktest.Hours("one", 0, 1)
	if _, err := sinktest.Write(t.Context(), k, s, sinktest.Bodies(s, 30)); err != nil {
		t.Error(err)
	}
}
