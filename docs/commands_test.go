package docs_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// A command line of sluice up to a pipe, a comment or the end; in units and tables of cron too.
	commandLine = regexp.MustCompile(`(?m)(?:^|[ =|{]|/bin/)sluice ((?:-f \S+ )?[a-z]+)([^|#;\n]*)`)
	longFlag    = regexp.MustCompile(`(?:^| )--([a-z][a-z-]*)`)
	shortFlag   = regexp.MustCompile(`(?:^| )-([a-zA-Z])\b`)
)

// TestCommandsExist holds that each command line that is shown, also those that no test runs, has a command and flags that exist.
func TestCommandsExist(t *testing.T) {
	bin := buildSluice(t)
	help := map[string]string{}
	n := 0
	for _, doc := range documents(t) {
		for _, b := range blocks(t, doc) {
			if !slices.Contains([]string{"sh", "sh run", "ini"}, b.info) && !strings.Contains(b.mark, "cron") {
				continue
			}
			text := strings.ReplaceAll(b.text, "go run ./cmd/sluice", "sluice")
			for _, m := range commandLine.FindAllStringSubmatch(withoutComments(text), -1) {
				fields := strings.Fields(m[1])
				command := fields[len(fields)-1]
				if below := strings.Fields(m[2]); len(below) > 0 && (command == "plugin" || command == "ledger") {
					command += " " + below[0]
				}
				n++
				if help[command] == "" {
					out, err := exec.Command(filepath.Join(bin, "sluice"), append(strings.Fields(command), "--help")...).CombinedOutput()
					if err != nil || !strings.Contains(string(out), "sluice "+command) {
						t.Errorf("%s:%d: no command %q: %v", doc, b.line, command, err)
						continue
					}
					help[command] = string(out)
				}
				for _, f := range longFlag.FindAllStringSubmatch(m[2], -1) {
					if !regexp.MustCompile(`--` + f[1] + `\b`).MatchString(help[command]) {
						t.Errorf("%s:%d: `sluice %s` has no flag --%s", doc, b.line, command, f[1])
					}
				}
				for _, f := range shortFlag.FindAllStringSubmatch(m[2], -1) {
					if !strings.Contains(help[command], " -"+f[1]+",") {
						t.Errorf("%s:%d: `sluice %s` has no flag -%s", doc, b.line, command, f[1])
					}
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d command lines were found", n)
	}
}

func withoutComments(text string) string {
	return regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(text, "")
}

// buildSluice returns a folder that holds the command. `go run` links what is new alone, and copies it here instead of running it.
func buildSluice(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "run", "-exec", "cp", "./cmd/sluice", filepath.Join(bin, "sluice"))
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}
