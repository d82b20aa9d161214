package config

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
	"time"
	"unicode"
)

// Init says what InitFile writes. Empty fields get the values named there.
type Init struct {
	Pipeline string    // "nightly"
	Region   string    // "eu"
	Logs     []string  // UUIDs; none: one to be replaced, which asks for nothing that exists
	From     time.Time // its UTC day; required
	Path     string    // of the file sink, "./lake"
	Format   string    // "ndjson"
	BaseURL  string    // left out

	Names map[string]string // of Logs, by ID: written as comments. They may be anything, a log without one gets no comment
}

// InitFile returns a commented config file that downloads Rapid7 logs into files each time it runs: `from` is fixed and
// there is no `to`, so that a nightly run asks for all that isn't there yet. The key comes from $R7_API_KEY.
func InitFile(in Init) []byte {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&in.Pipeline, "nightly")
	set(&in.Region, "eu")
	set(&in.Path, "./lake")
	set(&in.Format, "ndjson")
	placeholder := len(in.Logs) == 0
	if placeholder {
		in.Logs = []string{"00000000-0000-0000-0000-000000000000"}
	}
	logs := make([]initLog, len(in.Logs))
	for i, id := range in.Logs {
		logs[i] = initLog{id, commentText(in.Names[id])}
	}
	var out bytes.Buffer
	err := initTemplate.Execute(&out, struct {
		Init
		Logs        []initLog
		Day         string
		Placeholder bool
	}{in, logs, in.From.UTC().Format(time.DateOnly), placeholder})
	if err != nil {
		panic(fmt.Sprintf("config: init file: %v", err)) // the template is ours and writes to memory
	}
	return out.Bytes()
}

// initLog is a log as the template writes it.
type initLog struct{ ID, Comment string }

// longestComment is how many characters of a log's name are written.
const longestComment = 80

// commentText makes a name what can stand in a comment to the end of its line: what isn't printable becomes a question mark,
// as YAML refuses some of it and takes more than \n for the end of a line.
func commentText(name string) string {
	text := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)))
	if len(text) > longestComment {
		text = append(text[:longestComment], []rune("...")...)
	}
	return string(text)
}

var initTemplate = template.Must(template.New("init").Parse(`# What Sluice does on this machine. Check it with ` + "`sluice check`" + `, see what would be asked with ` + "`sluice plan`" + `, then
# ` + "`sluice run`" + `. Each run fetches what is not there yet: run it nightly by cron, a systemd timer or a Kubernetes CronJob.
# Paths are relative to this file. ` + "`sluice schema`" + ` prints a JSON Schema for editors.

state: ./state                  # what is known of past runs; on a local disk, not on a network file system

pipelines:
  - name: {{.Pipeline}}
    source:
      type: rapid7-download
      config:
        region: {{.Region}}              # us, us2, us3, eu, ca, au or ap
        api_key: ${env:R7_API_KEY}  # or ${file:/run/secrets/r7}; it is never printed or stored
{{- if .BaseURL}}
        base_url: {{printf "%q" .BaseURL}}
{{- end}}
        logs:                   # {{if .Placeholder}}replace this by the IDs of your logs{{else}}IDs of logs{{end}}
{{- range .Logs}}
          - {{printf "%q" .ID}}{{with .Comment}} # {{.}}{{end}}
{{- end}}
        # query: where(status=500)   # LEQL without calculations; left out, every record is fetched
    range:
      from: {{.Day}}          # UTC. No ` + "`to`" + `: up to now, less what the vendor may still be filling
      # to: 2026-12-01          # or with an end
    # lag: 5m                   # how much that is
    # flow: {window: 64MiB, parallel: 2, slice: auto}   # memory in flight, slices at a time, size of a slice
    sinks:
      - name: lake
        type: file
        config:
          path: {{printf "%q" .Path}}
          format: {{.Format}}        # raw (the exact lines), ndjson or csv
          compression: zstd     # none, gzip or zstd
    # retry: {attempts: 8, max_backoff: 2m}
    # dead_letter: {path: ./dead/{{.Pipeline}}, max: 0}       # records that can't be written; more than max: exit code 1
`))
