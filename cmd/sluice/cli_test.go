package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

var update = flag.Bool("update-cli", false, "rewrite the generated part of docs/cli.md")

// commands returns a command and all below it, hidden ones and cobra's own left out.
func commands(c *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	if c.Runnable() && !c.Hidden && c.Name() != "help" && c.Name() != "completion" && (c.Parent() == nil || c.Parent().Name() != "completion") {
		out = append(out, c)
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			out = append(out, commands(sub)...)
		}
	}
	return out
}

func testRoot() *cobra.Command {
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}
	return a.rootCommand()
}

// reference is the list of commands and flags in docs/cli.md.
func reference() string {
	var b strings.Builder
	root := testRoot()
	fmt.Fprintf(&b, "### All commands\n\n%s", flagTable(root.PersistentFlags()))
	for _, c := range commands(root) {
		if c == root || c.HasSubCommands() {
			continue
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s.\n", c.UseLine(), strings.TrimSuffix(c.Short, "."))
		if table := flagTable(c.LocalNonPersistentFlags()); table != "" {
			b.WriteString("\n" + table)
		}
	}
	return b.String()
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := "–"
		if !slices.Contains([]string{"", "false", "[]", "0", "0s", "0B"}, f.DefValue) {
			def = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, def, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
	if b.Len() == 0 {
		return ""
	}
	return "| flag | default | meaning |\n|---|---|---|\n" + b.String()
}

func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../docs/cli.md", "<!-- commands: begin -->\n", "<!-- commands: end -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i, j := strings.Index(string(text), begin), strings.Index(string(text), end)
	if i < 0 || j < i {
		t.Fatalf("%s lacks %q ... %q", path, begin, end)
	}
	want := string(text[:i]) + begin + reference() + string(text[j:])
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("run go test ./cmd/sluice -run TestReferenceIsCurrent -update-cli (-want +got):\n%s", diff)
	}
}

// TestReferenceWords holds the hand-written part of docs/cli.md: each event that --json prints and each exit code is there.
func TestReferenceWords(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{
		"sim_started", "plugin", "plugin_description", "version", "init", "problem", "pipeline_checked", "check", "slice_planned", "plan",
		"pipeline_status", "host_status", "stray", "ledger_rebuilt", "behind", "demo", "summary", "pipeline_failed", "found",
		"window", "retried", "would_forget", "forgotten",
	} {
		if !strings.Contains(string(text), "`"+event+"`") {
			t.Errorf("docs/cli.md doesn't tell of the event %s", event)
		}
	}
	for _, code := range exitRank {
		if !strings.Contains(string(text), fmt.Sprintf("| %d |", code)) {
			t.Errorf("docs/cli.md doesn't tell of exit code %d", code)
		}
	}
}

// TestHelp runs --help of every command: it goes to stdout, ends with 0 and says more than the name.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range commands(testRoot()) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append(strings.Fields(c.CommandPath())[1:], "--help")
			a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }}
			if code := a.execute(context.Background(), args); code != 0 || stderr.Len() > 0 {
				t.Errorf("code %d, stderr %q", code, stderr.String())
			}
			if !strings.Contains(stdout.String(), "Usage:") || c.Short == "" {
				t.Errorf("got %q", stdout.String())
			}
		})
	}
}

func TestPercent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		part, whole int64
		want        string
	}{{0, 0, "–"}, {0, 10, "0.0 %"}, {999_999, 1_000_000, "99.9 %"}, {10, 10, "100 %"}} {
		if got := percent(tt.part, tt.whole); got != tt.want {
			t.Errorf("percent(%d, %d) = %q, want %q", tt.part, tt.whole, got, tt.want)
		}
	}
}

func TestPreviewWindows(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	end := time.Date(2024, 3, 3, 2, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		stream pipeline.Stream
		from   time.Time
		want   []time.Duration // widths, newest first
	}{
		{"shorter than an hour", pipeline.Stream{}, end.Add(-time.Minute), []time.Duration{time.Minute}},
		{"never across a day", pipeline.Stream{}, end.Add(-27 * time.Hour), []time.Duration{time.Hour, 90 * time.Minute, 16 * time.Hour, 8 * time.Hour, 30 * time.Minute}},
		{"whole days", pipeline.Stream{Granularity: day}, end.Add(-27 * time.Hour), []time.Duration{day, day}},
		{"whole days that have settled", pipeline.Stream{Granularity: day, Settle: day}, end.Add(-27 * time.Hour), []time.Duration{day}},
		{"nothing has settled", pipeline.Stream{Granularity: day, Settle: 40 * time.Hour}, end.Add(-2 * time.Hour), nil},
		{
			"an odd granularity",
			pipeline.Stream{Granularity: 40 * time.Minute},
			end.Add(-4 * time.Hour),
			[]time.Duration{80 * time.Minute, 40 * time.Minute, 120 * time.Minute},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asks := tt.stream.Asks(flow.Range{From: tt.from, To: end}, end)
			var got []time.Duration
			var all flow.Ranges
			for _, w := range previewWindows(tt.stream, asks, end) {
				got = append(got, w.Duration())
				all = all.Add(w)
				if err := flow.NewSlice(flow.Partition{Stream: "events"}, w.From, w.To, 0).Validate(); err != nil {
					t.Error(err)
				}
				if g := tt.stream.Granularity; g > 0 && (w.From.UnixMilli()%g.Milliseconds() != 0 || w.To.UnixMilli()%g.Milliseconds() != 0) {
					t.Errorf("%v isn't made of whole %s", w, g)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(asks, all); diff != "" {
				t.Errorf("the windows don't cover what is asked (-want +got):\n%s", diff)
			}
		})
	}
	snapshot := pipeline.Stream{Snapshot: true}
	for _, tt := range []struct {
		name    string
		horizon time.Time
		want    int
	}{{"today's snapshot alone", end, 1}, {"today's isn't due", flow.Day(end), 0}} {
		t.Run(tt.name, func(t *testing.T) {
			got := previewWindows(snapshot, snapshot.Asks(flow.Range{From: end.AddDate(0, 0, -3), To: tt.horizon}, tt.horizon), end)
			if len(got) != tt.want || tt.want > 0 && !got[0].From.Equal(flow.Day(end)) {
				t.Errorf("%v, want %d", got, tt.want)
			}
		})
	}
}

func TestPlanBudget(t *testing.T) {
	t.Parallel()
	b := planBudget{requests: 10, bytes: 1000, window: time.Minute}
	for _, tt := range []struct {
		requests, bytes uint64
		want            time.Duration
	}{{0, 0, 0}, {10, 1000, 0}, {11, 0, time.Minute}, {1, 2001, 2 * time.Minute}, {35, 1, 3 * time.Minute}} {
		if got := b.takes(tt.requests, tt.bytes); got != tt.want {
			t.Errorf("takes(%d, %d) = %s, want %s", tt.requests, tt.bytes, got, tt.want)
		}
	}
}

func TestDemoStart(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 3, 8, 0, 3, 0, 0, time.UTC) // so early that the lag of yesterday's end isn't over
	got, err := demoStart(t.TempDir(), now)
	if want := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC); err != nil || !got.Equal(want) {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
