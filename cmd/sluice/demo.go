package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	demoMark = "# sluice demo, data from "
	demoDays = 7
	// demoSeed and the first day decide every line, so that a demo that is repeated is served the same.
	demoSeed = 1
	// demoUsageDays is how far back the simulator tells figures: far enough for a demo of some weeks ago.
	demoUsageDays = 30
)

func (a *app) demoCommand() *cobra.Command {
	dir, keep := "./sluice-demo", false
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way on this machine, without an account",
		Long: "demo starts a simulator of the vendors, writes a config file with a pipeline for each source, and downloads seven days of\n" +
			"logs through plugin processes into files, all in one folder. Run it again: what is there is not fetched twice.",
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), dir, keep) },
	}
	c.Flags().StringVar(&dir, "dir", dir, "folder to make, or to go on with")
	c.Flags().BoolVar(&keep, "keep", false, "leave the simulator up until SIGINT, SIGTERM or SIGHUP, to try other commands")
	return c
}

func (a *app) demo(ctx context.Context, dir string, keep bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return failedError(err)
	}
	start, err := demoStart(dir, time.Now())
	if err != nil {
		return usageError(err)
	}
	logs := vendorsim.Seeded(vendorsim.SeedOptions{Seed: demoSeed, Start: start, Days: demoDays, Lines: 7000})
	sim, err := vendorsim.New(vendorsim.Options{
		Logs: logs, Usage: vendorsim.UsageOptions{Days: demoUsageDays},
		Elsa: vendorsim.Elsa{Projects: vendorsim.SeededProjects(vendorsim.SeedOptions{Seed: demoSeed, Start: start, Days: demoDays, Lines: 3500})},
	})
	if err != nil {
		return failedError(err)
	}
	defer sim.Close()
	base, err := sim.Start("127.0.0.1:0")
	if err != nil {
		return failedError(fmt.Errorf("start the simulator: %w", err))
	}
	if a.file, err = writeDemo(dir, base, start, logs, time.Now()); err != nil {
		return failedError(err)
	}
	a.say("a simulated vendor serves at %s; the config file is %s", base, a.file)
	var code *exitError
	if err := a.run(ctx, nil, runFlags{}); err != nil && (!errors.As(err, &code) || code.err != nil || code.code != exitOK) {
		return err
	}
	if err := a.status(ctx, nil, statusFlags{}); err != nil {
		return err
	}
	if err := a.showDemo(dir); err != nil {
		return failedError(err)
	}
	if !keep {
		return nil
	}
	ctx, stop := signal.NotifyContext(ctx, stopSignals()...)
	defer stop()
	a.say("the simulator stays up; Ctrl-C ends it")
	<-ctx.Done()
	return nil
}

// demoStart returns the first day of the demo's data: of the demo that the folder holds, else seven whole days back. A
// folder that holds something else is refused.
func demoStart(dir string, now time.Time) (time.Time, error) {
	hint := "choose another with --dir, or move it away"
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		// Its end must be past by more than the lag, else the run would wait for that.
		return flow.Day(now.UTC().Add(-10*time.Minute)).AddDate(0, 0, -demoDays), nil
	}
	if err != nil {
		return time.Time{}, fault.New(fault.Config, "", hint, err)
	}
	f, err := os.Open(filepath.Join(dir, config.FileName))
	if err == nil {
		defer f.Close()
		line, _ := bufio.NewReader(f).ReadString('\n')
		day, ok := strings.CutPrefix(strings.TrimSpace(line), demoMark)
		start, err := time.Parse(time.DateOnly, day)
		if ok && err == nil {
			return start, nil
		}
	}
	return time.Time{}, fault.New(fault.Config, "", hint, fmt.Errorf("%s is there already and holds no demo", dir))
}

// writeDemo writes the keys and the config file. The simulator's port differs from time to time; it is no part of the
// selection, so the file may change.
func writeDemo(dir, base string, start time.Time, logs []vendorsim.Log, now time.Time) (string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	day := func(n int) string { return start.AddDate(0, 0, n).Format(time.DateOnly) }
	var text bytes.Buffer
	err := demoTemplate.Execute(&text, map[string]any{
		"Mark": demoMark + day(0), "Base": base, "Logs": logs, "From": day(0), "To": day(demoDays),
		"Settled": day(demoDays - 1), "Late": day(demoDays - 2), "Today": now.UTC().Format(time.DateOnly),
		"Projects": []vendorsim.Project{
			{Key: vendorsim.SeedProject, ID: vendorsim.SeedProjectID}, {Key: vendorsim.SeedOddProject, ID: vendorsim.SeedOddProjectID},
		},
		"AccessKey": vendorsim.DemoAccessKey,
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, config.FileName) // first: it marks the folder as a demo's
	if err := replaceFile(path, text.Bytes(), 0o666); err != nil {
		return "", err
	}
	for name, key := range map[string]string{"api-key": vendorsim.DemoKey, "secret-key": vendorsim.DemoSecretKey} {
		if err := replaceFile(filepath.Join(dir, name), []byte(key+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	return path, nil
}

var demoTemplate = template.Must(template.New("demo").Parse(`{{.Mark}}
state: ./state
pipelines:
  # Rapid7 Log Search, lines of whole logs: the cheapest way to much data.
  - name: download
    source:
      type: rapid7-download
      config:
        base_url: {{printf "%q" .Base}}     # the simulator; with an account: region
        api_key: ${file:api-key}     # beside this file, for its owner only
        logs:
{{- range .Logs}}
          - {{.ID}}     # {{.Name}}
{{- end}}
    range: {from: {{.From}}, to: {{.To}}}
    sinks:
      - name: lake
        type: file
        config: {path: ./lake/download, format: ndjson, compression: zstd}

  # How many bytes each log received on each day. A day's figure is read a day after its end, when it has settled.
  - name: usage
    source:
      type: rapid7-usage
      config: {base_url: {{printf "%q" .Base}}, api_key: "${file:api-key}"}
    range: {from: {{.From}}, to: {{.Settled}}}
    sinks:
      - name: lake
        type: file
        config: {path: ./lake/usage, format: csv, compression: none}

  # The same logs by the query API: slower, and each event with its time.
  - name: query
    source:
      type: logentries
      config: {base_url: {{printf "%q" .Base}}, api_key: "${file:api-key}", logs: [web]}
    range: {from: {{.Late}}, to: {{.To}}}
    sinks:
      - name: lake
        type: file
        config: {path: ./lake/query, format: ndjson, compression: zstd}

  # What the account holds today.
  - name: account
    source:
      type: logentries
      config: {base_url: {{printf "%q" .Base}}, api_key: "${file:api-key}"}
    streams: [logs]
    range: {from: {{.Today}}}
    sinks:
      - name: lake
        type: file
        config: {path: ./lake/account, format: ndjson, compression: none}

  # NAVER Cloud ELSA: zip archives of records with fields.
  - name: elsa
    source:
      type: elsa
      config:
        base_url: {{printf "%q" .Base}}
        access_key: {{.AccessKey}}
        secret_key: ${file:secret-key}
        projects:
{{- range .Projects}}
          - {key: {{.Key}}, id: {{.ID}}}
{{- end}}
    range: {from: {{.From}}, to: {{.To}}}
    sinks:
      - name: lake
        type: file
        config: {path: ./lake/elsa, format: ndjson, compression: zstd}
`))

// showDemo prints the first lines of a file that the demo made, and says where to look.
func (a *app) showDemo(dir string) error {
	pattern := filepath.Join(dir, "lake", "download", "stream=events", "log_id="+vendorsim.SeedAppID, "date=*", "*.zst")
	made, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(made) == 0 {
		return fmt.Errorf("the demo made no file like %s", pattern)
	}
	if a.json {
		a.printJSON(struct {
			V      int    `json:"v"`
			TS     string `json:"ts"`
			Event  string `json:"event"`
			Dir    string `json:"dir"`
			Config string `json:"config"`
			Sample string `json:"sample"`
		}{1, stamp(time.Now()), "demo", dir, a.file, made[0]})
		return nil
	}
	me, configFile, sample := invocation(), shortPath(a.file), shortPath(made[0])
	text := fmt.Sprintf("\n$ %s cat %s | head -n 3\n", me, sample)
	lines, err := firstLines(made[0], 3)
	if err != nil {
		return err
	}
	for _, l := range lines {
		text += l + "\n"
	}
	text += fmt.Sprintf("\nIt made %s:\n  sluice.yaml  the config file\n  lake/        the records, a folder for each pipeline, one file a log and day; _sluice in it proves what was committed\n"+
		"  state/       the ledger\n\nLook at it:\n  %s -f %s status\n  %s cat %s\n  find %s -name '*.zst'\n",
		shortPath(dir), me, configFile, me, sample, shortPath(filepath.Join(dir, "lake")))
	return a.printText(text)
}

// firstLines returns the first n lines of a data file.
func firstLines(path string, n int) ([]string, error) {
	w := &lineTaker{left: n}
	if err := catFile(w, path); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return w.lines, nil
}

var errEnough = errors.New("enough lines")

// lineTaker keeps the first lines of what is written to it, then refuses more.
type lineTaker struct {
	left  int
	lines []string
	rest  []byte
}

func (t *lineTaker) Write(p []byte) (int, error) {
	t.rest = append(t.rest, p...)
	for t.left > 0 {
		line, rest, ok := bytes.Cut(t.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		t.lines, t.rest, t.left = append(t.lines, string(line)), rest, t.left-1
	}
	return 0, errEnough
}

// invocation is how this program was called: what a reader can type again.
func invocation() string {
	if strings.Contains(filepath.ToSlash(os.Args[0]), "/go-build") {
		return "go run ./cmd/sluice"
	}
	return os.Args[0]
}

// shortPath makes a path relative to the working folder if it lies below it.
func shortPath(path string) string {
	cwd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(cwd, path); err == nil && !strings.HasPrefix(rel, "..") {
		return "." + string(filepath.Separator) + rel
	}
	return path
}
