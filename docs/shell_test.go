package docs_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// simAddress is where the documents tell people to start the simulator; the test's own is on a free port.
const simAddress = "127.0.0.1:8514"

// TestShellBlocks runs the blocks marked "sh run" of each document, one after another, in a folder with the examples, beside a
// simulator. A "text" block that follows is what they must print, up to what differs from day to day.
func TestShellBlocks(t *testing.T) {
	bin := buildSluice(t)
	ran := 0
	for _, doc := range documents(t) {
		all := blocks(t, doc)
		var dir, address string
		for i, b := range all {
			if b.info != "sh run" {
				continue
			}
			if dir == "" {
				dir, address = t.TempDir(), startSim(t, bin)
				examples(t, dir, address)
			}
			ran++
			script := strings.NewReplacer(simAddress, address, "go run ./cmd/sluice", "sluice").Replace(b.text)
			out, err := shell(t, bin, dir, script)
			if err != nil {
				t.Fatalf("%s:%d: %v\n%s\n%s", doc, b.line, err, b.text, out)
			}
			if i+1 < len(all) && all[i+1].info == "text" {
				if want := all[i+1]; !form(want.text).MatchString(normal(out)) {
					t.Errorf("%s:%d: the document shows\n%s\nbut this was printed:\n%s", doc, want.line, want.text, out)
				}
			}
		}
	}
	if ran < 5 {
		t.Errorf("only %d blocks ran", ran)
	}
}

// examples copies the examples to dir, with the simulator's address.
func examples(t *testing.T, dir, address string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join(root, "examples"))); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "examples", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(strings.ReplaceAll(string(text), simAddress, address)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func startSim(t *testing.T, bin string) (address string) {
	t.Helper()
	sim := exec.Command(filepath.Join(bin, "sluice"), "sim")
	out, err := sim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sim.Process.Signal(os.Interrupt)
		_ = sim.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "base_url" {
			return strings.TrimPrefix(f[1], "http://")
		}
	}
	t.Fatal("the simulator didn't tell its address")
	return ""
}

// shell runs one block with nothing in its environment but what the documents name.
func shell(t *testing.T, bin, dir, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	c.Dir = dir
	c.Env = []string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(),
		"R7_API_KEY=5ca1ab1e-0000-4000-8000-000000000001",
	}
	out, err := c.CombinedOutput()
	return string(out), err
}

var (
	number = regexp.MustCompile(`[0-9a-f]{16,}|[0-9][0-9,]*(\.[0-9]+)?`)
	unit   = regexp.MustCompile(`0 [KMG]i?B\b`)
	span   = regexp.MustCompile(`\b(0[dhms])+\b`)
	blanks = regexp.MustCompile(`[ \t]+`)
)

// normal makes two outputs equal that differ in figures, their units and the width of columns.
func normal(text string) string {
	text = number.ReplaceAllString(text, "0")
	text = unit.ReplaceAllString(text, "0 B")
	text = span.ReplaceAllString(text, "0s")
	return strings.TrimSpace(blanks.ReplaceAllString(text, " "))
}

// form is what an output must look like: "..." stands for anything.
func form(text string) *regexp.Regexp {
	return regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(normal(text)), `\.\.\.`, ".*") + "$")
}

func TestForm(t *testing.T) {
	for _, tt := range []struct {
		shown, printed string
		want           bool
	}{
		{"10 records, 3.5 MiB\n", "1,234 records, 900.1 KiB", true},
		{"10 records", "10 records, and more", false},
		{"a\n...\nb", "a\nx\ny\nb", true},
		{"a\nb", "a\nc", false},
		{"asked 1d4h", "asked 28m9s", true},
	} {
		if got := form(tt.shown).MatchString(normal(tt.printed)); got != tt.want {
			t.Errorf("%q shown, %q printed: %v", tt.shown, tt.printed, got)
		}
	}
}
