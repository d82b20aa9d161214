package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/logentries"
	"github.com/sluice-io/sluice/proto/fault"
)

// getFlags are the flags of get: a config file in one line.
type getFlags struct {
	region, baseURL    string
	logs, logsets      []string
	projects, settings []string
	query, keyEnv      string
	format, compress   string
	save               string
	force              bool
	asked              selectors
}

func (a *app) getCommand() *cobra.Command {
	var f getFlags
	c := &cobra.Command{
		Use:   "get SOURCE DIR",
		Short: "Download into a folder without a config file",
		Long: "get fetches a range of time from a vendor into files below DIR. Run the same line again: what is there isn't fetched twice.\n" +
			"What is known of past runs is in DIR/.sluice. Keys come from the environment, never from the command line:\n" +
			"R7_API_KEY, or NCP_ACCESS_KEY and NCP_SECRET_KEY for elsa, or the variable that --key-env names.\n" +
			"A log may be given by its name; without --log the logs that the key sees are listed.\n" +
			"--save writes the config file that does the same, as ./sluice.yaml or --save=FILE.",
		Example: "  sluice get rapid7-download --region eu --log web --from 2026-11-01 --to 2026-11-02 ./web\n" +
			"  sluice get rapid7-usage --region eu --last 7d ./usage\n" +
			"  sluice get elsa --project Pb00001_shop:8171 --last 24h --save ./shop",
		Args: func(c *cobra.Command, args []string) error {
			given := f // the command takes the file itself
			return given.checkArgs(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			args = f.takeFile(args)
			return a.get(c.Context(), args[0], args[1], f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.region, "region", "", "the vendor's region: us, us2, us3, eu, ca, au, ap or legacy")
	flags.StringVar(&f.baseURL, "base-url", "", "another address of the API, such as a simulator's")
	flags.StringSliceVar(&f.logs, "log", nil, "name or ID of a log; may be given several times")
	flags.StringSliceVar(&f.logsets, "logset", nil, "name or ID of a log set: all of its logs")
	flags.StringSliceVar(&f.projects, "project", nil, "KEY:ID of a project; may be given several times")
	flags.StringVar(&f.query, "query", "", "what keeps the records that it matches")
	flags.StringVar(&f.asked.from, "from", "", "begin here: RFC 3339 or a date (UTC)")
	flags.StringVar(&f.asked.to, "to", "", "end before this (default: what the vendor has completely)")
	flags.Var(atLeast{time.Second, &f.asked.last}, "last", "the last 24h, 7d, ... instead of --from and --to")
	flags.StringSliceVar(&f.asked.streams, "stream", nil, "streams of the source (default: its main one)")
	flags.StringVar(&f.format, "format", "ndjson", "raw, ndjson or csv")
	flags.StringVar(&f.compress, "compression", "none", "none, gzip or zstd")
	flags.StringArrayVar(&f.settings, "set", nil, "any other setting of the source as KEY=VALUE, such as budget.share=0.5")
	flags.StringVar(&f.keyEnv, "key-env", "", "environment variable that holds the key, or elsa's secret key")
	flags.StringVar(&f.save, "save", "", "write the config file, too: sluice.yaml, or --save=FILE")
	flags.Lookup("save").NoOptDefVal = savedFile
	flags.BoolVar(&f.force, "force", false, "with --save: overwrite the file if it is there")
	return c
}

// savedFile is what --save writes: where the other commands look first.
const savedFile = "sluice.yaml"

// takeFile takes the file of `--save FILE` out of the arguments, where flags with an optional value leave it. It is told from the folder by
// how it ends.
func (f *getFlags) takeFile(args []string) []string {
	if f.save != savedFile || len(args) != 3 || isConfigFile(args[1]) == isConfigFile(args[2]) {
		return args
	}
	at := 1
	if isConfigFile(args[2]) {
		at = 2
	}
	f.save = args[at]
	return slices.Delete(slices.Clone(args), at, at+1)
}

func isConfigFile(arg string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(arg))
}

// checkArgs counts the arguments, of which one may be the file of --save. What it says of that needs both.
func (f *getFlags) checkArgs(c *cobra.Command, args []string) error {
	rest := f.takeFile(args)
	switch {
	case f.save != "" && len(rest) > 2:
		return usageError(fmt.Errorf("%q: which is the folder, and which the file? Write --save=FILE", rest[1:]))
	case f.save != "" && len(rest) == 2 && isConfigFile(rest[1]):
		return usageError(fmt.Errorf("%s: that is a config file by its name, and DIR is missing: `%s SOURCE DIR --save=%s`", rest[1], c.CommandPath(), rest[1]))
	}
	return exactArgs(2)(c, rest)
}

func (a *app) get(ctx context.Context, source, dir string, f getFlags) error {
	started := time.Now().UTC()
	h, chosen, err := a.openGet(ctx, source, dir, f)
	if err != nil {
		return a.endedEarly(started, "", err)
	}
	defer h.Close()
	r := &running{app: a, host: h, started: started}
	return r.do(ctx, chosen, selection{}, runFlags{})
}

// openGet returns what the run of a get needs before its pipeline begins. The caller closes the host.
func (a *app) openGet(ctx context.Context, source, dir string, f getFlags) (_ *host, chosen []*config.Pipeline, err error) {
	g, err := newGetter(source, dir, f)
	if err != nil {
		return nil, nil, usageError(err)
	}
	// Names are looked up under the budget of the folder's own state, so a file without them comes first.
	c, _, err := g.config(g.needsNames())
	if err != nil {
		return nil, nil, usageError(err)
	}
	for _, w := range c.Warnings {
		a.log.logger.Warn(w.String())
	}
	// The variables are missing more often than anything else is wrong: before a folder is made.
	if _, _, err := c.Pipelines[0].Source.Config.Resolve(config.Environment{}); err != nil {
		return nil, nil, usageError(err)
	}
	h, err := a.openHost(ctx, c)
	if err != nil {
		return nil, nil, &exitError{codeOf(err), err}
	}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	h.fileless = f.save == ""
	if g.needsNames() {
		if err := g.resolve(ctx, h); err != nil {
			err = asUsage(err)
			return nil, nil, &exitError{codeOf(err), err}
		}
	}
	c, text, err := g.config(false)
	if err != nil {
		return nil, nil, usageError(err)
	}
	h.config = c
	if f.save != "" {
		if err := writeNew(f.save, text, f.force); err != nil {
			return nil, nil, usageError(fault.New(fault.Config, "--save", "choose another name with --save=FILE, or overwrite it with --force", err))
		}
		a.say("wrote %s", f.save)
	}
	if chosen, err = choosePipelines(c, nil); err != nil {
		return nil, nil, usageError(err)
	}
	return h, chosen, nil
}

var logID = regexp.MustCompile(`^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$`)

// needsNames says whether logs must be looked up first: they have names, or none is given where some are needed.
func (g *getter) needsNames() bool {
	if !g.schema.has("logs") {
		return false
	}
	if slices.ContainsFunc(slices.Concat(g.logs, g.flags.logsets), func(l string) bool { return !logID.MatchString(l) }) {
		return true
	}
	return len(g.logs) == 0 && len(g.flags.logsets) == 0 && g.readsLogs() && !g.isSet("logs", "logsets")
}

// readsLogs says whether the source is asked for what it reads log by log.
func (g *getter) readsLogs() bool {
	return g.schema.requires("logs") || slices.ContainsFunc(g.source.Streams, func(s plugins.Stream) bool {
		asked := slices.Contains(g.flags.asked.streams, s.Name) || len(g.flags.asked.streams) == 0 && s.Main
		return asked && s.PartitionBy != ""
	})
}

// resolve looks up what is called by a name. logentries takes names itself, which are kept; for the others IDs take their place.
func (g *getter) resolve(ctx context.Context, h *host) error {
	found := map[string][]supervisor.Found{}
	err := h.discover(ctx, &h.config.Pipelines[0], func(f supervisor.Found) error {
		found[f.Kind] = append(found[f.Kind], f)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look up the logs: %w", err)
	}
	if len(g.logs) == 0 && len(g.flags.logsets) == 0 {
		return usageError(fmt.Errorf("--log is missing; %s", theySee("log", found)))
	}
	for i, name := range g.logs {
		id, err := idOf("log", name, found)
		if err != nil {
			return usageError(err)
		}
		if g.source.Name != logentries.Name {
			g.logs[i] = id
		}
	}
	for _, name := range g.flags.logsets {
		if _, err := idOf("logset", name, found); err != nil {
			return usageError(err)
		}
	}
	return nil
}

// idOf returns the ID of what has a name.
func idOf(kind, name string, found map[string][]supervisor.Found) (string, error) {
	if logID.MatchString(name) {
		return name, nil
	}
	var ids []string
	for _, f := range found[kind] {
		if f.Name == name {
			ids = append(ids, f.ID)
		}
	}
	switch len(ids) {
	case 1:
		return ids[0], nil
	case 0:
		return "", fmt.Errorf("no %s is called %q; %s", kinds[kind], name, theySee(kind, found))
	}
	return "", fmt.Errorf("%d %ss are called %q, give the ID of one: %s", len(ids), kinds[kind], name, strings.Join(ids, ", "))
}

// kinds are what people call the kinds of what is found.
var kinds = map[string]string{"log": "log", "logset": "log set"}

// mostListed is how many logs an error names.
const mostListed = 50

func theySee(kind string, found map[string][]supervisor.Found) string {
	list := found[kind]
	if len(list) == 0 {
		return "the key sees no " + kinds[kind] + "s"
	}
	text := "the key sees:"
	for i, l := range list {
		if i == mostListed {
			return text + fmt.Sprintf("\n  and %d more", len(list)-i)
		}
		text += "\n  " + printable(l.ID) + "  " + printable(l.Name)
	}
	return text
}

// commandLine is what messages call the file that isn't written.
const commandLine = "(command line)"

// place returns the folder that paths of the config are relative to, and how messages call the file.
func (f getFlags) place() (base, name string, err error) {
	name = f.save
	if name == "" {
		name = commandLine
	}
	abs, err := filepath.Abs(name)
	return filepath.Dir(abs), name, err
}

func (f getFlags) askedRange() (string, error) {
	sel, err := f.asked.selection()
	switch {
	case err != nil:
		return "", err
	case sel.last > 0 && (sel.from != nil || sel.to != nil):
		return "", errors.New("--last excludes --from and --to")
	case sel.last > 0:
		return "{last: " + shortDuration(sel.last) + "}", nil
	case sel.from == nil:
		return "", errors.New("which time? say --from (and --to), or --last")
	case sel.to == nil:
		return "{from: " + sel.from.UTC().Format(time.RFC3339Nano) + "}", nil
	}
	return "{from: " + sel.from.UTC().Format(time.RFC3339Nano) + ", to: " + sel.to.UTC().Format(time.RFC3339Nano) + "}", nil
}
