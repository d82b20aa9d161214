package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-io/sluice/host/config"
)

const (
	minimalSource = "    source: {type: rapid7-download, config: {region: eu, api_key: \"${env:R7_API_KEY}\", logs: [aee00b66-a543-43dc-b093-53963c2e8f41]}}\n"
	minimalSinks  = "    sinks: [{type: stdout}]\n"
	minimalRange  = "    range: {from: 2026-11-01}\n"
)

// wholeConfig completes a fragment of a config: the keys of a pipeline, shown alone.
func wholeConfig(text string) string {
	has := func(key string) bool { return strings.HasPrefix(text, key+":") || strings.Contains(text, "\n"+key+":") }
	if has("pipelines") {
		return text
	}
	whole := "pipelines:\n  - name: fragment\n"
	for key, minimal := range map[string]string{"source": minimalSource, "sinks": minimalSinks, "range": minimalRange} {
		if !has(key) {
			whole += minimal
		}
	}
	for line := range strings.Lines(text) {
		whole += "    " + line
	}
	return whole
}

// TestConfigsAreAccepted holds that every config that is shown, whole or in part, is one that Sluice takes without a warning.
func TestConfigsAreAccepted(t *testing.T) {
	n := 0
	check := func(name, text string) {
		n++
		c, err := config.Parse(name, []byte(text), registry())
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		} else if len(c.Warnings) > 0 {
			t.Errorf("%s: %v\n%s", name, config.Problems(c.Warnings), text)
		}
	}
	for _, doc := range documents(t) {
		for _, b := range blocks(t, doc) {
			switch {
			case b.info != "yaml":
			case strings.Contains(b.text, "apiVersion:"):
				manifests(t, doc, b.text)
			default:
				check(doc, wholeConfig(b.text))
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "examples"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		path = strings.TrimPrefix(path, root+"/")
		if text := read(t, path); strings.Contains(text, "apiVersion:") {
			for _, embedded := range manifests(t, path, text) {
				check(path, embedded)
			}
		} else {
			check(path, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 8 {
		t.Errorf("only %d configs were found", n)
	}
}

// manifests parses Kubernetes objects and returns the configs that are inside of ConfigMaps.
func manifests(t *testing.T, path, text string) []string {
	t.Helper()
	var configs []string
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var object struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct{ Name string }
			Data       map[string]string
			Spec       map[string]any
		}
		err := dec.Decode(&object)
		if errors.Is(err, io.EOF) {
			return configs
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if object.APIVersion == "" || object.Kind == "" || object.Metadata.Name == "" {
			t.Errorf("%s: an object without apiVersion, kind or name: %+v", path, object)
		}
		if object.Kind == "ConfigMap" {
			configs = append(configs, object.Data["sluice.yaml"])
		}
	}
}

// TestGracePeriod holds that a pod is given longer to end than Sluice takes.
func TestGracePeriod(t *testing.T) {
	const path = "examples/kubernetes/cronjob.yaml"
	var job struct {
		Kind string
		Spec struct {
			ConcurrencyPolicy string `yaml:"concurrencyPolicy"`
			JobTemplate       struct {
				Spec struct {
					Template struct {
						Spec struct {
							Grace int `yaml:"terminationGracePeriodSeconds"`
						}
					}
				}
			} `yaml:"jobTemplate"`
		}
	}
	for dec := yaml.NewDecoder(strings.NewReader(read(t, path))); job.Kind != "CronJob"; {
		if err := dec.Decode(&job); err != nil {
			t.Fatalf("no CronJob: %v", err)
		}
	}
	whole, err := config.Parse(path, []byte(wholeConfig("")), registry())
	if err != nil {
		t.Fatal(err)
	}
	if grace, needs := job.Spec.JobTemplate.Spec.Template.Spec.Grace, whole.ShutdownTimeout.Seconds(); float64(grace) < needs+5 {
		t.Errorf("a pod has %d s to end, the default shutdown_timeout is %v s: leave 5 s", grace, needs)
	}
	if job.Spec.ConcurrencyPolicy != "Forbid" {
		t.Errorf("concurrencyPolicy is %q: a second run would end with exit code 4", job.Spec.ConcurrencyPolicy)
	}
}

// directives are those that the unit files may use, by section: a mistyped one would be ignored by systemd with a warning only.
var directives = map[string][]string{
	"Unit":    {"Description", "Documentation", "After", "Wants", "OnFailure", "RequiresMountsFor"},
	"Install": {"WantedBy"},
	"Timer":   {"OnCalendar", "RandomizedDelaySec", "Persistent"},
	"Service": {
		"Type", "ExecStart", "WorkingDirectory", "Environment", "LoadCredential", "User", "Group", "DynamicUser", "StateDirectory",
		"StateDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode", "TimeoutStartSec", "TimeoutStopSec", "KillMode", "SuccessExitStatus",
		"Restart", "RestartSec", "RestartPreventExitStatus",
		"NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictAddressFamilies", "UMask", "Nice",
	},
}

func TestUnits(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(root, "examples/systemd/*.[st][ei][rm]*"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		path = strings.TrimPrefix(path, root+"/")
		section := ""
		lines := bufio.NewScanner(bytes.NewReader([]byte(read(t, path))))
		for lines.Scan() {
			line := lines.Text()
			switch {
			case line == "" || line[0] == '#':
			case line[0] == '[':
				if section = strings.Trim(line, "[]"); directives[section] == nil {
					t.Errorf("%s: section %s", path, line)
				}
			default:
				if key, _, ok := strings.Cut(line, "="); !ok || !slices.Contains(directives[section], key) {
					t.Errorf("%s: [%s] %s", path, section, line)
				}
			}
		}
	}
}
