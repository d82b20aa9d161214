package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/views"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

func (a *app) sqlCommand() *cobra.Command {
	var only []string
	var engines []string
	for _, e := range views.Engines() {
		engines = append(engines, string(e))
	}
	c := &cobra.Command{
		Use:   "sql " + strings.Join(engines, "|") + " [PIPELINE...]",
		Short: "Print the view or table of what was written",
		Long: "sql prints the statements by which DuckDB, Spark, Athena or ClickHouse read what the sinks of files have written: a view or\n" +
			"table for each stream, with its columns and those that the folders tell. It reads the config file and which selections a\n" +
			"folder holds, and asks nobody.\n" +
			"Sinks whose target is a database or a stream need none, and are told on stderr.",
		Example: "  sluice sql duckdb | duckdb lake.db\n  sluice sql athena prod --sink lake",
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(context.Context) error { return a.sql(args, only) })
		},
		ValidArgs: engines,
	}
	c.Flags().StringSliceVar(&only, "sink", nil, "only these sinks")
	return c
}

// viewLine is a line of `sql --json`.
type viewLine struct {
	V        int    `json:"v"`
	TS       string `json:"ts"`
	Event    string `json:"event"` // "view"
	Engine   string `json:"engine"`
	Pipeline string `json:"pipeline"`
	Sink     string `json:"sink"`
	Stream   string `json:"stream"`
	Name     string `json:"name"`
	SQL      string `json:"sql"`
}

func (a *app) sql(args, only []string) error {
	if len(args) == 0 || !slices.Contains(views.Engines(), views.Engine(args[0])) {
		what := "an engine is missing"
		if len(args) > 0 {
			what = fmt.Sprintf("no engine is called %q", args[0])
		}
		return usageError(fmt.Errorf("%s: want one of %v, and pipelines behind it", what, views.Engines()))
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	chosenOnes, err := choosePipelines(c, args[1:])
	if err != nil {
		return usageError(err)
	}
	h := &host{config: c, log: a.log.logger, app: a}
	var all []viewLine
	var errs []error
	used, taken := map[string]bool{}, map[string]bool{}
	for _, p := range chosenOnes {
		for _, s := range p.Sinks {
			if !chosen(only, s.Name) {
				continue
			}
			used[s.Name] = true
			lines, err := h.views(p, s, views.Engine(args[0]), taken)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s/%s: %w", p.Name, s.Name, err))
			}
			all = append(all, lines...)
		}
	}
	for _, name := range only {
		if !used[name] {
			return usageError(fmt.Errorf("no sink of the chosen pipelines is called %q", name))
		}
	}
	for _, l := range all {
		if a.json {
			a.printJSON(l)
			continue
		}
		if err := a.printText(l.SQL + "\n"); err != nil {
			return err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError(err)
	}
	if len(all) == 0 {
		return usageError(errors.New("none of the chosen sinks writes files"))
	}
	return nil
}

// views returns the statements for a sink's streams; none for one that writes no files.
func (h *host) views(p *config.Pipeline, s config.Sink, e views.Engine, taken map[string]bool) ([]viewLine, error) {
	d, err := sinkDefinition(s.Type)
	if err != nil {
		return nil, err
	}
	if d.Files == nil {
		what := "writes no files: nothing needs to be made to read them"
		if s.Type == "postgres" {
			what = "needs no view: its tables are in the database, with the columns of the stream"
		}
		h.app.say("%s/%s: a sink of type %s %s", p.Name, s.Name, s.Type, what)
		return nil, nil
	}
	streams, err := streamsTaken(p, s)
	if err != nil {
		return nil, err
	}
	c, unresolved := h.sinkConfig(p, s, streams)
	if unresolved != nil { // a secret that isn't there now: none is needed
		c = sinks.Config{Settings: s.Config.JSON, Base: h.config.Dir, Pipeline: p.Name, Source: p.Source.Type, Labels: p.Labels, Name: s.Name, Streams: streams}
	}
	files, err := d.Files(c)
	if err != nil {
		return nil, err
	}
	if unresolved != nil && strings.Contains(files.Root, "${") {
		return nil, unresolved
	}
	var out []viewLine
	for _, stream := range streams {
		about := fmt.Sprintf("Stream %s of pipeline %s, as sink %s (%s) has it", stream.Name, p.Name, s.Name, s.Type)
		folders, err := selectionFolders(files, stream.Name)
		if err != nil {
			return out, fmt.Errorf("%s: %w", files.Root, err)
		}
		for _, folder := range folders {
			v := views.View{Name: viewName(p, s, stream.Name), About: about + ".", Stream: stream, Files: files}
			if folder != "" {
				v.Name += "_" + strings.TrimPrefix(folder, "selection=")
				v.About = fmt.Sprintf("%s, of the selection that `run --new-selection` let in under %s.", about, folder)
				v.Files = filesBelow(files, stream.Name, folder)
			}
			for base, n := v.Name, 2; taken[v.Name]; n++ {
				v.Name = fmt.Sprintf("%s_%d", base, n)
			}
			taken[v.Name] = true
			sql, err := views.SQL(e, v)
			if err != nil {
				return out, fault.New(fault.Config, "", "", err)
			}
			out = append(out, viewLine{1, stamp(time.Now()), "view", string(e), p.Name, s.Name, stream.Name, v.Name, sql})
		}
	}
	return out, nil
}

// selectionFolders are the folders below a root that the selections of a stream lie in, the first of which is the root itself. Of what isn't
// on this disk, or isn't written yet, none but the first is known.
func selectionFolders(files sinks.Files, stream string) ([]string, error) {
	folders := []string{""}
	if files.Place != sinks.OnDisk {
		return folders, nil
	}
	owner, err := commitlog.ReadOwner(commitlog.OS{}, files.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return folders, nil
	}
	if err != nil {
		return nil, err
	}
	return append(folders, owner.OtherFolders(stream)...), nil
}

// filesBelow returns a stream's files as they lie below a folder of the root.
func filesBelow(files sinks.Files, stream, folder string) sinks.Files {
	one := files.Streams[stream]
	one.Folders = append([]string{folder}, one.Folders...)
	files.Streams = map[string]sinks.StreamFiles{stream: one}
	return files
}

// streamsTaken are the source's streams that a sink is given, by the file.
func streamsTaken(p *config.Pipeline, s config.Sink) ([]sinks.Stream, error) {
	d, err := sourceDefinition(p.Source.Type)
	if err != nil {
		return nil, err
	}
	var out []sinks.Stream
	for _, st := range d.Streams {
		if slices.Contains(p.Streams, st.Name) && s.Takes(st.Name) {
			out = append(out, sinks.Stream{Name: st.Name, Schema: st.Schema, PartitionBy: st.PartitionBy, DigestColumns: st.DigestColumns})
		}
	}
	return out, nil
}

// viewName names a view: PIPELINE_STREAM, with the sink between them where the pipeline has several of files. Other characters than
// letters, digits and _ are _: Spark and Athena take no others.
func viewName(p *config.Pipeline, s config.Sink, stream string) string {
	parts := []string{p.Name}
	files := 0
	for _, o := range p.Sinks {
		if d, err := sinkDefinition(o.Type); err == nil && d.Files != nil {
			files++
		}
	}
	if files > 1 {
		parts = append(parts, s.Name)
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '_'
	}, strings.Join(append(parts, stream), "_"))
}
