package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/sinks"
)

func (a *app) addPluginCommands(c *cobra.Command) {
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List the sources and sinks of this binary", Args: exactArgs(0),
		Long: "list names the sources and sinks inside this binary. Plugins of other makers in a config come with a later version;\n" +
			"`sluice plugin describe PATH` can look at one already.",
		RunE: func(*cobra.Command, []string) error { return a.pluginList() },
	}, &cobra.Command{
		Use: "describe NAME|PATH", Short: "Say what a plugin reads or writes, and its settings", Args: exactArgs(1),
		Long: "describe starts a source's process and prints what it says of itself: streams with their columns, limits and settings.\n" +
			"A PATH (with a / in it) is the executable of an external plugin. The sinks of this binary can be described too.",
		Example: "  sluice plugin describe rapid7-download\n  sluice plugin describe ./sluice-source-mine",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.pluginDescribe(ctx, args[0]) })
		},
	})
	parent(c)
}

// pluginLine is a line of `plugin list --json`.
type pluginLine struct {
	V       int      `json:"v"`
	TS      string   `json:"ts"`
	Event   string   `json:"event"` // "plugin"
	Kind    string   `json:"kind"`  // "source" or "sink"
	Name    string   `json:"name"`
	Version string   `json:"version"`
	BuiltIn bool     `json:"built_in"`
	Streams []string `json:"streams,omitempty"`
	Promise string   `json:"promise,omitempty"` // of a sink
}

func (a *app) pluginList() error {
	var lines []pluginLine
	head := pluginLine{V: 1, TS: stamp(time.Now()), Event: "plugin", Version: buildVersion(), BuiltIn: true}
	for _, d := range builtinSources() {
		l := head
		l.Kind, l.Name = "source", d.Name
		for _, s := range d.Streams {
			l.Streams = append(l.Streams, s.Name)
		}
		lines = append(lines, l)
	}
	for _, d := range builtinSinks() {
		l := head
		l.Kind, l.Name, l.Promise = "sink", d.Type, d.Promise
		lines = append(lines, l)
	}
	if a.json {
		for _, l := range lines {
			a.printJSON(l)
		}
		return nil
	}
	rows := [][]string{{"KIND", "NAME", "VERSION", "WHAT"}}
	for _, l := range lines {
		what := l.Promise
		if l.Kind == "source" {
			what = "streams: " + strings.Join(l.Streams, ", ")
		}
		rows = append(rows, []string{l.Kind, l.Name, l.Version, what})
	}
	a.say("all are inside this binary; plugins of other makers come with a later version")
	return a.printTable(rows)
}

func (a *app) pluginDescribe(ctx context.Context, name string) error {
	if d, err := sinkDefinition(name); err == nil {
		return a.describeSink(d)
	}
	spec := supervisor.Spec{Name: name}
	if strings.ContainsRune(name, os.PathSeparator) {
		spec = supervisor.Spec{Path: name}
		if _, err := os.Stat(name); err != nil {
			return usageError(err)
		}
	} else if _, err := sourceDefinition(name); err != nil {
		return usageError(err)
	}
	s, err := supervisor.New(supervisor.Options{Log: a.log.logger, Version: buildVersion()})
	if err != nil {
		return failedError(err)
	}
	defer s.Close()
	p, err := s.Start(ctx, spec)
	if err != nil {
		return failedError(err)
	}
	d, err := p.Describe(ctx)
	if err != nil {
		return failedError(err)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := p.Stop(stop); err != nil {
		return failedError(err)
	}
	return a.describeSource(d)
}

// describedPlugin is what `plugin describe --json` prints.
type describedPlugin struct {
	V        int               `json:"v"`
	TS       string            `json:"ts"`
	Event    string            `json:"event"` // "plugin_description"
	Kind     string            `json:"kind"`
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Promise  string            `json:"promise,omitempty"`
	Protocol uint32            `json:"protocol,omitempty"`
	Features []string          `json:"features,omitempty"`
	Streams  []describedStream `json:"streams,omitempty"`
	Limits   []describedLimit  `json:"limits,omitempty"`
	Config   json.RawMessage   `json:"config"` // JSON Schema
}

type describedStream struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	Main        bool              `json:"main"`
	PartitionBy string            `json:"partition_by,omitempty"`
	Description string            `json:"description,omitempty"`
	Granularity float64           `json:"granularity_seconds,omitempty"`
	Buffer      int64             `json:"buffer_bytes,omitempty"` // what a read may hold beside what it has sent
	Columns     []describedColumn `json:"columns"`
}

type describedColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

type describedLimit struct {
	Namespace string  `json:"namespace"`
	Requests  uint64  `json:"requests,omitempty"`
	Bytes     uint64  `json:"bytes,omitempty"`
	Seconds   float64 `json:"window_seconds"`
}

func (a *app) describeSource(d supervisor.Description) error {
	out := describedPlugin{
		V: 1, TS: stamp(time.Now()), Event: "plugin_description", Kind: "source", Name: d.Name, Version: d.Version,
		Protocol: d.Protocol, Features: d.Features, Config: d.ConfigSchema,
	}
	for _, s := range d.Streams {
		kind := "time"
		if s.Kind == supervisor.Snapshot {
			kind = "snapshot"
		}
		out.Streams = append(out.Streams, describedStream{
			s.Name, kind, s.Main, s.PartitionBy, s.Description, s.Granularity.Seconds(), s.Buffer, columnsOf(s.Schema),
		})
	}
	for _, l := range d.Limits {
		out.Limits = append(out.Limits, describedLimit{l.Namespace, l.Requests, l.Bytes, l.Window.Seconds()})
	}
	return a.printDescription(out)
}

func (a *app) describeSink(d sinks.Definition) error {
	return a.printDescription(describedPlugin{
		V: 1, TS: stamp(time.Now()), Event: "plugin_description", Kind: "sink", Name: d.Type, Version: buildVersion(),
		Promise: d.Promise, Config: d.Config,
	})
}

func columnsOf(s *arrow.Schema) []describedColumn {
	columns := make([]describedColumn, 0, len(s.Fields()))
	for _, f := range s.Fields() {
		columns = append(columns, describedColumn{f.Name, f.Type.String(), f.Nullable})
	}
	return columns
}

func (a *app) printDescription(d describedPlugin) error {
	if a.json {
		a.printJSON(d)
		return nil
	}
	protocol := ""
	if d.Protocol > 0 {
		protocol = fmt.Sprint(d.Protocol)
	}
	err := a.printTable([][]string{
		{d.Kind, d.Name}, {"version", d.Version}, {"promise", d.Promise}, {"protocol", protocol}, {"features", strings.Join(d.Features, ", ")},
	})
	for _, s := range d.Streams {
		err = errors.Join(err, a.printStream(s))
	}
	if len(d.Limits) > 0 {
		rows := [][]string{{"\nLIMIT", "REQUESTS", "BYTES", "WINDOW"}}
		for _, l := range d.Limits {
			rows = append(rows, []string{l.Namespace, orDash(l.Requests), orDash(l.Bytes), shortDuration(time.Duration(l.Seconds * float64(time.Second)))})
		}
		err = errors.Join(err, a.printTable(rows))
	}
	rows, tableErr := settingsRows(d.Config)
	return errors.Join(err, tableErr, a.printTable(rows))
}

func (a *app) printStream(s describedStream) error {
	title := fmt.Sprintf("\nstream %s (%s", s.Name, s.Kind)
	if s.Main {
		title += ", main"
	}
	if s.Granularity > 0 {
		title += ", by " + shortDuration(time.Duration(s.Granularity*float64(time.Second)))
	}
	if s.PartitionBy != "" {
		title += ", one partition for each " + s.PartitionBy
	}
	title += ")\n"
	if s.Description != "" {
		title += s.Description + "\n"
	}
	rows := [][]string{{"COLUMN", "TYPE", "NULL"}}
	for _, c := range s.Columns {
		null := "no"
		if c.Nullable {
			null = "yes"
		}
		rows = append(rows, []string{c.Name, c.Type, null})
	}
	return errors.Join(a.printText(title), a.printTable(rows))
}

// settingsRows makes an aligned table of the Markdown one.
func settingsRows(schema []byte) ([][]string, error) {
	text, err := config.SettingsTable(schema)
	if err != nil {
		return nil, err
	}
	rows := [][]string{{"\nSETTING", "TAKES", "DEFAULT", "MEANING"}}
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
		if n < 2 || len(cells) != 5 {
			continue // head and rule
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.NewReplacer("`", "", `\|`, "|").Replace(cells[i]))
		}
		meaning := cells[4]
		if cells[3] != "" && !slices.Contains(cells[:2], cells[3]) {
			meaning += " (" + cells[3] + ")"
		}
		rows = append(rows, []string{cells[0], cells[1], cells[2], strings.TrimSpace(meaning)})
	}
	return rows, nil
}

func orDash(n uint64) string {
	if n == 0 {
		return "–"
	}
	return grouped(n)
}

// shortDuration writes a duration without parts that are zero.
func shortDuration(d time.Duration) string { return config.Duration(d).String() }
