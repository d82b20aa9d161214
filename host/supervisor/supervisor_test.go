package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

var fakeDay = time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)

// TestMain is also the plugin and the host of tests that need real processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "fake-plugin":
			runFakePlugin(os.Args[2], os.Args[3:])
			return
		case "fake-host":
			runFakeHost(os.Args[2], os.Args[3:])
			return
		case "starved-host":
			runStarvedHost(os.Args[2])
			return
		}
	}
	testsize.Crowd()
	goleak.VerifyTestMain(m)
}

func fakeSpec(tb testing.TB, mode string, args ...string) Spec {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return Spec{Name: "fake", Path: self, Args: append([]string{"fake-plugin", mode}, args...)}
}

// logBuffer is a log that tests read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSupervisor(t *testing.T, o Options) (*Supervisor, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.RuntimeDir == "" {
		o.RuntimeDir = shortDir(t)
	}
	o.Version = "0.0.1-test"
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(o.RuntimeDir); err != nil || len(left) > 0 {
			t.Errorf("left in the folder for sockets: %v, %v", left, err)
		}
	})
	return s, log
}

// shortDir is a temporary folder with a path short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, s *Supervisor, mode string, args ...string) *Plugin {
	t.Helper()
	p, err := s.Start(t.Context(), fakeSpec(t, mode, args...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func configure(t *testing.T, p *Plugin) Configured {
	t.Helper()
	got, err := p.Configure(t.Context(), Config{
		Settings: json.RawMessage(`{"api_key":"` + fakeSecret + `"}`),
		HTTP:     HTTP{Proxy: "http://user:pass-0001@proxy:3128"},
		Spool:    "/spool",
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name  string
		spec  Spec
		kind  fault.Kind
		wants []string
		hint  string
	}{
		{"missing", Spec{Name: "fake", Path: filepath.Join(dir, "nowhere")}, fault.Config, []string{"plugin fake", "nowhere doesn't exist"}, "install"},
		{"folder", Spec{Name: "fake", Path: dir}, fault.Config, []string{"is a folder"}, "executable"},
		{"not executable", Spec{Name: "fake", Path: file("plain", "#!/bin/sh\n", 0o644)}, fault.Config, []string{"plain isn't executable"}, "chmod +x"},
		{"no interpreter", Spec{Name: "fake", Path: file("script", "#!/no/such/shell\n", 0o755)}, fault.Config, []string{"script can't be run", "interpreter"}, "interpreter"},
		{"foreign format", Spec{Name: "fake", Path: file("binary", "\x00\x01\x02\x03", 0o755)}, fault.Config, []string{"isn't a program that this machine runs"}, "processor"},
		{"exit", fakeSpec(t, "exit"), fault.Crash, []string{"plugin fake", "ended before the handshake", "exit code 3", "no licence: file not found", "giving up"}, "by hand"},
		{"signal", fakeSpec(t, "kill"), fault.Crash, []string{"before the handshake", "signal SIGTERM"}, "by hand"},
		{"fault", fakeSpec(t, "segv"), fault.Crash, []string{"exit code 2", "SIGSEGV: segmentation violation"}, "by hand"},
		{"panic", fakeSpec(t, "panic"), fault.Crash, []string{"exit code 2", "panic: at the start"}, "by hand"},
		{"garbage", fakeSpec(t, "garbage"), fault.Config, []string{`"Hello, I am no plugin"`, "instead of the handshake"}, "standard output"},
		{"hang", fakeSpec(t, "silent"), fault.Crash, []string{"didn't start: waited 3s for the handshake", "thinking"}, "log"},
		{"protocol version", fakeSpec(t, "version"), fault.Config, []string{"version 7 of the plugin protocol, this Sluice version 1"}, "update Sluice"},
		{"handshake version", fakeSpec(t, "core"), fault.Config, []string{"version 2 of the handshake, this Sluice version 1"}, "SDK"},
		{"cookie", fakeSpec(t, "cookie"), fault.Crash, []string{"exit code 1", "This binary is a plugin"}, "by hand"},
		{"tcp", fakeSpec(t, "tcp"), fault.Config, []string{`listens on "tcp" "127.0.0.1:1", not on a unix socket`}, "PLUGIN_UNIX_SOCKET_DIR"},
		{"outside", fakeSpec(t, "outside"), fault.Config, []string{`"/tmp/elsewhere", outside of its own folder`}, "PLUGIN_UNIX_SOCKET_DIR"},
		{"net/rpc", fakeSpec(t, "netrpc"), fault.Config, []string{`transport "netrpc", not gRPC`}, "Sluice plugin"},
		{"deaf", fakeSpec(t, "deaf"), fault.Crash, []string{"waited ", "s for its first answer"}, "log"},
		{"stopped", fakeSpec(t, "stop-itself"), fault.Crash, []string{"waited ", "s for its first answer"}, "log"},
		{"exit in Describe", fakeSpec(t, "describe-exit"), fault.Crash, []string{"ended after the handshake", "exit code 9"}, "log"},
		{"another protocol", fakeSpec(t, "foreign"), fault.Config, []string{"doesn't serve Sluice's plugin protocol"}, "Sluice plugin"},
		{"another name", fakeSpec(t, "name"), fault.Config, []string{`calls itself "another"`}, "source's type"},
		{"described versions", fakeSpec(t, "protocols"), fault.Config, []string{"versions [8 9]", "version 1"}, "update"},
		{"a sink", fakeSpec(t, "sink"), fault.Config, []string{"is no source"}, "source"},
		{"no streams", fakeSpec(t, "nostreams"), fault.Config, []string{"0 streams"}, "update"},
		{"broken schema", fakeSpec(t, "badschema"), fault.Config, []string{`stream "events": schema`}, "update"},
		{"an absurd buffer", fakeSpec(t, "badbuffer"), fault.Config, []string{"a buffer of 9223372036854775808 bytes"}, "update"},
		{"broken granularity", fakeSpec(t, "badgranularity"), fault.Config, []string{"granularity 7h0m0s"}, "update"},
		{"broken config schema", fakeSpec(t, "badconfig"), fault.Config, []string{"config schema"}, "update"},
		{"stream twice", fakeSpec(t, "twice"), fault.Config, []string{"same name"}, "update"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limit := 20 * time.Second
			switch tt.name {
			case "hang":
				limit = 3 * time.Second
			case "deaf", "stopped": // on a busy machine, too, they come as far as the handshake
				limit = testsize.Of(10*time.Second, 5*time.Second)
			}
			s, _ := newSupervisor(t, Options{Timeouts: Timeouts{Start: limit}})
			_, err := s.Start(t.Context(), tt.spec)
			if err == nil {
				t.Fatal("it started")
			}
			if got := fault.KindOf(err); got != tt.kind {
				t.Errorf("kind = %s, want %s", got, tt.kind)
			}
			for _, want := range tt.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Count(err.Error(), "plugin fake") != 1 {
				t.Errorf("error %q names the plugin not once", err)
			}
			if got := fault.HintOf(err); !strings.Contains(got, tt.hint) {
				t.Errorf("hint %q lacks %q", got, tt.hint)
			}
		})
	}
}

func TestStartCanceled(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Start(ctx, fakeSpec(t, "silent")); fault.KindOf(err) != fault.Canceled {
		t.Errorf("error = %v, want Canceled", err)
	}
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{CrashLoop: CrashLoop{Starts: 3, Within: time.Hour}})
	now := time.Now()
	s.loops.now = func() time.Time { return now }
	spec := fakeSpec(t, "exit")
	for range 2 {
		if _, err := s.Start(t.Context(), spec); fault.KindOf(err) != fault.Crash {
			t.Fatalf("error = %v, want Crash", err)
		}
	}
	for range 2 { // the second without a start
		_, err := s.Start(t.Context(), spec)
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "given up: 3 starts failed") || !strings.Contains(err.Error(), "exit code 3") {
			t.Fatalf("error = %v, want that it is given up", err)
		}
	}
	now = now.Add(2 * time.Hour)
	if _, err := s.Start(t.Context(), spec); fault.KindOf(err) != fault.Crash {
		t.Fatalf("error = %v after the failures are old, want Crash", err)
	}
}

// TestCrashesSoonAfterTheStartCount: a plugin that ends in whatever it reads is given up. One that ends in a single slice isn't: it is the
// slice that is given up, and the others go on.
func TestCrashesSoonAfterTheStartCount(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{CrashLoop: CrashLoop{Starts: 2, Within: time.Hour}})
	crash := func(slice flow.Slice) {
		t.Helper()
		p := start(t, s, "serve")
		r, err := p.Read(t.Context(), slice, ReadOptions{Share: 1 << 20})
		if err == nil { // it opened, and ends just after it
			_, err = r.Next(t.Context())
			_ = r.Close()
		}
		if fault.KindOf(err) != fault.Crash {
			t.Errorf("error = %v, want Crash", err)
		}
		<-p.Done()
	}
	one := fakeSlice("panic")
	for range 4 {
		crash(one)
	}
	crash(flow.NewSlice(one.Partition, one.From, one.From.Add(time.Minute), 0))
	if _, err := s.Start(t.Context(), fakeSpec(t, "serve")); err == nil || !strings.Contains(err.Error(), "given up") || !strings.Contains(err.Error(), "panic: deep in a decoder") {
		t.Errorf("error = %v, want that it is given up", err)
	}
}

func TestDescribeConfigureCalls(t *testing.T) {
	t.Setenv("SLUICE_TEST_SECRET", "from the host's environment")
	b := &fakeBudget{}
	s, _ := newSupervisor(t, Options{Budget: b, Environment: []string{"GOMEMLIMIT=100MiB"}})
	p := start(t, s, "serve")
	d, err := p.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "fake" || d.Version != "1.2.3" || len(d.Streams) != 1 || !d.Streams[0].Main || !d.Streams[0].Schema.Equal(fakeSchema) || d.Limits[0].Requests != 150 {
		t.Errorf("description = %+v", d)
	}
	got := configure(t, p)
	want := map[string][]PartitionKey{"events": {{Key: "a", Name: "first"}, {Key: "b"}}}
	if diff := cmp.Diff(want, got.Partitions); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	if got := d.Streams[0].Granularity; got != time.Hour {
		t.Errorf("granularity = %s, want 1h", got)
	}
	if got := d.Streams[0].Buffer; got != 3<<20 {
		t.Errorf("buffer = %d, want 3 MiB", got)
	}
	if got := got.Settle["events"]; got != 24*time.Hour {
		t.Errorf("settles in %s, want 24h", got)
	}
	warnings := strings.Join(got.Warnings, "\n")
	for _, want := range []string{"http http://***@proxy:3128 sluice/0.0.1-test", "spool /spool", "GOMEMLIMIT=100MiB", "SLUICE_PLUGIN=", "TMPDIR="} {
		if !strings.Contains(warnings, want) {
			t.Errorf("the plugin was told %q, which lacks %q", warnings, want)
		}
	}
	for _, bad := range []string{"from the host", "PATH=", "HOME=", "PORT"} {
		if strings.Contains(warnings, bad) {
			t.Errorf("the plugin's environment %q holds %q", warnings, bad)
		}
	}
	if _, err := p.Configure(t.Context(), Config{}); fault.KindOf(err) != fault.Bug {
		t.Errorf("configured twice: %v, want Bug", err)
	}
	if now, err := p.Now(t.Context()); err != nil || !now.Equal(fakeDay) {
		t.Errorf("Now = %v, %v", now, err)
	}
	measured, err := p.Measure(t.Context(), flow.Partition{Stream: "events", Key: "a"}, flow.Range{From: fakeDay, To: fakeDay.Add(time.Hour)})
	if measured != nil || err != nil {
		t.Errorf("a plugin that can't measure = %v, %v", measured, err)
	}
	var found []string
	if err := p.Discover(t.Context(), func(f Found) error { found = append(found, f.ID); return nil }); err != nil || len(found) != 2 {
		t.Errorf("found %v, %v", found, err)
	}
	if summary, err := p.Check(t.Context()); err != nil || summary != "settled r1" {
		t.Errorf("check = %q, %v", summary, err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Err(); err != nil {
		t.Errorf("Err after Stop = %v", err)
	}
	if len(b.acquired) != 1 || b.acquired[0].Owner == "" || b.acquired[0].Window != time.Minute {
		t.Errorf("acquired %+v", b.acquired)
	}
	if len(b.settled) != 1 || b.settled[0].Bytes != 4 || *b.settled[0].Vendor.LimitRequests != 9 {
		t.Errorf("settled %+v", b.settled)
	}
	if diff := cmp.Diff([]string{b.acquired[0].Owner}, b.abandoned); diff != "" {
		t.Errorf("abandoned (-want +got):\n%s", diff)
	}
}

type fakeBudget struct {
	mu        sync.Mutex
	acquired  []budget.Request
	settled   []budget.Settlement
	abandoned []string
}

func (b *fakeBudget) Acquire(_ context.Context, r budget.Request) (budget.Grant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acquired = append(b.acquired, r)
	return budget.Grant{Granted: true, Reservation: "r" + strconv.Itoa(len(b.acquired))}, nil
}

func (b *fakeBudget) Settle(_ context.Context, s budget.Settlement) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = append(b.settled, s)
	return nil
}

func (b *fakeBudget) Abandon(_ context.Context, owner string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.abandoned = append(b.abandoned, owner)
	return nil
}

func TestCallsFail(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{Timeouts: Timeouts{Call: 300 * time.Millisecond}})
	t.Run("clock", func(t *testing.T) {
		if _, err := start(t, s, "noclock").Now(t.Context()); !errors.Is(err, ErrNoClock) || !strings.Contains(fault.HintOf(err), "clock: host") {
			t.Errorf("error = %v, hint %q", err, fault.HintOf(err))
		}
	})
	for _, tt := range []struct {
		mode  string
		kind  fault.Kind
		wants []string
	}{
		{"configure-auth", fault.Auth, []string{"plugin fake: open: refused ***"}},
		{"configure-hang", fault.Crash, []string{"hangs: no answer to configure within 300ms"}},
		{"configure-settle", fault.Crash, []string{"broke the protocol", "settles in -1s"}},
		{"configure-partition", fault.Crash, []string{"broke the protocol", `"other"`}},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			_, err := start(t, s, tt.mode).Configure(t.Context(), Config{Settings: json.RawMessage(`{"api_key":"` + fakeSecret + `"}`)})
			if fault.KindOf(err) != tt.kind {
				t.Errorf("error = %v, want %s", err, tt.kind)
			}
			for _, want := range tt.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v lacks %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error()+fault.HintOf(err), fakeSecret) {
				t.Errorf("error %q, hint %q tell the secret", err, fault.HintOf(err))
			}
		})
	}
}

// TestAsksThatHang: a call that asks the vendor and isn't answered ends its process, so that a run which follows goes on with a fresh one.
func TestAsksThatHang(t *testing.T) {
	t.Parallel()
	limits := Timeouts{Silence: 300 * time.Millisecond, Ask: 300 * time.Millisecond}
	for name, call := range map[string]func(p *Plugin) error{
		"clock":    func(p *Plugin) error { _, err := p.Now(t.Context()); return err },
		"check":    func(p *Plugin) error { _, err := p.Check(t.Context()); return err },
		"discover": func(p *Plugin) error { return p.Discover(t.Context(), func(Found) error { return nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newSupervisor(t, Options{Timeouts: limits})
			p := start(t, s, "ask-hang")
			err := call(p)
			if fault.KindOf(err) != fault.Crash || !strings.Contains(err.Error(), "hangs: no answer to") || fault.HintOf(err) == "" {
				t.Errorf("error %v, hint %q", err, fault.HintOf(err))
			}
			<-p.Done()
		})
	}
	t.Run("told to stop", func(t *testing.T) {
		t.Parallel()
		s, _ := newSupervisor(t, Options{})
		p := start(t, s, "ask-hang")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := p.Now(ctx); fault.KindOf(err) != fault.Canceled {
			t.Errorf("error %v", err)
		}
	})
	t.Run("slow discover", func(t *testing.T) {
		t.Parallel()
		s, _ := newSupervisor(t, Options{Timeouts: Timeouts{Ask: 700 * time.Millisecond}})
		n := 0
		if err := start(t, s, "ask-slow").Discover(t.Context(), func(Found) error { n++; return nil }); err != nil || n != 2 {
			t.Errorf("%d things, error %v", n, err)
		}
	})
}

// TestSigns: what is told to wait, or gives a sign, isn't silent.
func TestSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s signs
		s.wait(time.Hour)
		time.AfterFunc(time.Hour+30*time.Second, s.give)
		begun := time.Now()
		if !s.end(t.Context(), time.Minute) {
			t.Error("it was no hang")
		}
		if took := time.Since(begun) - time.Hour - 30*time.Second; took < time.Minute || took > 2*time.Minute {
			t.Errorf("a hang %s after the last sign, want about a minute", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s.end(ctx, time.Minute) {
			t.Error("an ended call hangs")
		}
	})
}

func TestPlan(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{CrashLoop: CrashLoop{Starts: 100}})
	gap := func(key string) flow.Gap {
		return flow.Gap{Partition: flow.Partition{Stream: "events", Key: key}, From: fakeDay, To: fakeDay.Add(48 * time.Hour)}
	}
	got, err := start(t, s, "serve").Plan(t.Context(), gap("good"))
	if err != nil || len(got) != 2 || got[1].To != fakeDay.Add(48*time.Hour) {
		t.Errorf("plan = %v, %v", got, err)
	}
	for key, want := range map[string]string{
		"hole": "leaves a hole", "overlap": "overlaps", "beyond": "goes beyond", "empty": "is empty", "late": "leaves a hole", "foreign": "another partition",
	} {
		t.Run(key, func(t *testing.T) {
			p := start(t, s, "serve")
			_, err := p.Plan(t.Context(), gap(key))
			if fault.KindOf(err) != fault.Crash || !strings.Contains(err.Error(), want) {
				t.Errorf("error = %v, want Crash with %q", err, want)
			}
			<-p.Done()
		})
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	s, log := newSupervisor(t, Options{})
	p := start(t, s, "longline")
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "cut=true") || !strings.Contains(got, `level=WARN msg="[WARN] short again" plugin=fake pid=`+strconv.Itoa(p.PID())) || len(got) > 100<<10 {
		t.Errorf("log of %d bytes lacks the lines: %.200q", len(got), got)
	}
	p = start(t, s, "printer")
	configure(t, p)
	await(t, "the plugin's line", func() bool { return strings.Contains(log.String(), "the key is ***") })
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	got := log.String()
	if n := strings.Count(got, "the plugin prints to standard output"); n != 1 {
		t.Errorf("printing is told %d times, want once", n)
	}
	if strings.Contains(got, fakeSecret) {
		t.Error("the log tells the secret")
	}
	if !strings.Contains(got, `msg="the key is ***"`) || !strings.Contains(got, "plugin_pid=mine") {
		t.Error("the log lacks the plugin's line or its attributes")
	}
}

// TestHalfASecretIsMasked: wherever a text is cut, by the host, by its plugin or on the way, no part of a secret stays.
func TestHalfASecretIsMasked(t *testing.T) {
	const secret = "sk-live-4f9a7c2e5b1d8036aa55"
	var r redactor
	r.set([]string{secret})
	pad := func(n int) string { return strings.Repeat("x", n) }
	logged := func(write func(l *logReader)) string {
		log := &logBuffer{}
		write(newLogReader(slog.New(slog.NewTextHandler(log, nil)), &r))
		return log.String()
	}
	line := func(s string) string {
		return logged(func(l *logReader) { l.run(strings.NewReader(s + "\n")) })
	}
	for _, tt := range []struct{ name, got string }{
		{"a line", line(pad(maxLogLine-10) + secret + "zz")},
		{"a line of JSON", line(`{"@level":"info","@message":"m","a":"` + pad(maxLogLine-50) + secret + `"}`)},
		{"a message", line(`{"@level":"info","@message":"` + secret + `","` + secret + `":1}`)},
		{"an attribute", line(`{"@level":"info","@message":"m","url":"` + pad(maxLogAttr-10) + secret + `"}`)},
		{"an attribute that the plugin cut", line(`{"@level":"info","@message":"m","url":"` + pad(shortestCut) + secret[:20] + `"}`)},
		{"what is forwarded", logged(func(l *logReader) {
			w := &lineWriter{log: l}
			for _, s := range []string{pad(maxLogLine - 10), secret[:15], secret[15:], "\n"} {
				_, _ = w.Write([]byte(s))
			}
		})},
		{"standard output", logged(func(l *logReader) { l.stray("standard output", []byte(pad(maxShownLine-10)+secret)) })},
		{"standard output in pieces", logged(func(l *logReader) { l.stray("standard output", []byte(secret[:20])) })},
		{"cut to be shown", r.shown(pad(maxLogAttr-10)+secret, maxLogAttr)},
		{"cut by the SDK", r.shown(pad(shortestCut)+secret[:12], maxLogAttr)},
		{"cut in an error", r.told("refused " + secret[:20] + "...; key: wrong")},
		{"cut in quotes", r.text("a stream " + quote([]byte(pad(100)+secret)))},
	} {
		if i := strings.Index(tt.got, secret[:5]); i >= 0 {
			t.Errorf("%s: of the %d bytes of the secret it shows %.60s", tt.name, len(secret), tt.got[i:])
		}
		if !strings.Contains(tt.got, "*") {
			t.Errorf("%s: nothing is masked: %.200s", tt.name, tt.got)
		}
	}
	if got := r.shown("begins as sk-live", maxLogAttr); got != "begins as sk-live" {
		t.Errorf("a short text is masked by chance: %s", got)
	}
	var lines []string
	log := &logBuffer{}
	w := &lineWriter{log: newLogReader(slog.New(slog.NewTextHandler(log, nil)), &r)}
	for _, s := range []string{"one\ntw", "o\n", pad(maxLogLine) + "left out", " too\nthree\n"} {
		_, _ = w.Write([]byte(s))
	}
	for _, l := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		_, msg, _ := strings.Cut(l, "msg=")
		lines = append(lines, strings.TrimLeft(msg, "x"))
	}
	if diff := cmp.Diff([]string{"one pid=0", "two pid=0", " pid=0 cut=true", "three pid=0"}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestStopKillsWhatDoesNotExit(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{Timeouts: Timeouts{Exit: 200 * time.Millisecond}})
	p := start(t, s, "noexit")
	if err := p.Stop(t.Context()); fault.KindOf(err) != fault.Crash || !strings.Contains(err.Error(), "didn't exit within 200ms") {
		t.Errorf("error = %v", err)
	}
	if !gone(p.PID()) {
		t.Error("it lives")
	}
}

func TestEndTakesTheGroup(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{})
	pidFile := filepath.Join(t.TempDir(), "pid")
	p := start(t, s, "children", pidFile)
	child := readPID(t, pidFile)
	if gone(child) {
		t.Fatal("the grandchild doesn't live")
	}
	if _, err := p.Read(t.Context(), fakeSlice("kill"), ReadOptions{Share: 1 << 20}); err == nil {
		<-p.Done()
	}
	<-p.Done()
	await(t, "the grandchild's end", func() bool { return gone(child) })
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "signal SIGKILL") || !strings.Contains(fault.HintOf(err), "memory") {
		t.Errorf("Err = %v, hint %q", err, fault.HintOf(err))
	}
}

// runFakeHost starts plugins, prints their numbers and waits to be killed.
func runFakeHost(dir string, args []string) {
	s, err := New(Options{RuntimeDir: dir})
	if err != nil {
		panic(err)
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	plain, err := s.Start(context.Background(), Spec{Name: "fake", Path: self, Args: []string{"fake-plugin", "serve"}})
	if err != nil {
		panic(err)
	}
	wrapped, err := s.Start(context.Background(), Spec{Name: "fake", Path: args[0], Args: []string{self, args[1]}})
	if err != nil {
		panic(err)
	}
	fmt.Println(plain.PID(), wrapped.PID())
	select {}
}

func TestNoOrphans(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, tmp := shortDir(t), t.TempDir()
	wrapper, pidFile := filepath.Join(tmp, "wrapper"), filepath.Join(tmp, "pid")
	// The plugin proper is the shell's child, and has a child of its own.
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\n\"$1\" fake-plugin children \"$2\"\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self, "fake-host", dir, wrapper, pidFile)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var plain, shell int
	if _, err := fmt.Fscan(bufio.NewReader(out), &plain, &shell); err != nil {
		t.Fatal(errors.Join(err, host.Process.Kill(), host.Wait()))
	}
	grandchild := readPID(t, pidFile)
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // says that it was killed
	for what, pid := range map[string]int{"plugin": plain, "wrapper": shell, "grandchild": grandchild} {
		await(t, "the end of the "+what, func() bool { return gone(pid) })
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Fatalf("left by the killed host: %v, %v; want its folder", left, err)
	}
	newSupervisor(t, Options{RuntimeDir: dir}) // sweeps; its cleanup looks
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("after the sweep: %v, %v", left, err)
	}
}

func readPID(t *testing.T, file string) int {
	t.Helper()
	var pid int
	await(t, file, func() bool {
		b, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(string(b))
		return err == nil
	})
	return pid
}

// gone reports whether a process has ended; nobody may have reaped it.
func gone(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	const patience = 20 * time.Second // of a busy machine
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

func TestFolder(t *testing.T) {
	t.Run("too long", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{RuntimeDir: dir})
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "too long") || !strings.Contains(fault.HintOf(err), "XDG_RUNTIME_DIR") {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("fallback", func(t *testing.T) {
		dir := shortDir(t)
		t.Setenv("RUNTIME_DIRECTORY", "")
		t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "missing"))
		t.Setenv("TMPDIR", dir)
		f, err := openFolder("")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(f.path); filepath.Dir(f.path) != dir || err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("folder %s, %v, %v; want 0700 below %s", f.path, info, err, dir)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a living host's folder stays", func(t *testing.T) {
		dir := shortDir(t)
		a, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := openFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a.path); err != nil {
			t.Error(err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestPeer(t *testing.T) {
	t.Parallel()
	s, _ := newSupervisor(t, Options{Budget: &fakeBudget{}})
	p := start(t, s, "serve")
	configure(t, p)
	if conn, err := dialPlugin(t.Context(), p.address, p.PID()); err != nil {
		t.Error(err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	// The socket is the plugin's, and isn't of the process that is expected.
	if _, err := dialPlugin(t.Context(), p.address, os.Getpid()); err == nil || !strings.Contains(err.Error(), "isn't of the plugin") {
		t.Errorf("error = %v, want that the peer is a stranger", err)
	}
	for _, path := range []string{p.address, filepath.Join(p.proc.dir, "host")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want a socket for this user alone", filepath.Base(path), info, err)
		}
	}
}
