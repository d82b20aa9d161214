package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// load finds and reads the config file and prints its warnings.
func (a *app) load() (*config.Config, error) { return a.loadBy(registry()) }

// loadBy is load with another view of what a file may hold.
func (a *app) loadBy(reg config.Registry) (*config.Config, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, usageError(err)
	}
	path, err := config.Find(a.file, a.getenv, cwd)
	if err != nil {
		return nil, usageError(err)
	}
	c, err := config.Load(path, reg)
	if err != nil {
		return nil, usageError(err)
	}
	for _, w := range c.Warnings {
		a.log.logger.Warn(w.String())
	}
	return c, nil
}

// host is an open state: the ledger, whose lock it holds, and the budget in it.
type host struct {
	config       *config.Config
	ledger       *ledger.Ledger
	budget       *budget.Manager
	log          *slog.Logger
	app          *app
	newSelection bool   // other selections are let into the sinks' targets
	fileless     bool   // the config is made of flags: there is no file that a hint could speak of
	spool        string // of commands that only look and may run beside a host; empty: the state's
}

// spoolFolder holds a folder for each pipeline's plugin.
func (h *host) spoolFolder() string {
	if h.spool != "" {
		return h.spool
	}
	return filepath.Join(h.config.State, "spool")
}

// openHost opens the state folder of a config.
func (a *app) openHost(ctx context.Context, c *config.Config) (*host, error) {
	l, err := ledger.Open(ctx, c.State, ledger.Options{Version: buildVersion()})
	if err != nil {
		return nil, err
	}
	clock, err := budget.SystemClock()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	m, err := budget.New(l.DB(), clock)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &host{config: c, ledger: l, budget: m, log: a.log.logger, app: a}, nil
}

func (h *host) Close() error {
	// Unless something lies in it, or it is a link to where there is more room.
	if info, err := os.Lstat(h.spoolFolder()); err == nil && info.IsDir() {
		_ = os.Remove(h.spoolFolder())
	}
	return h.ledger.Close()
}

// selection narrows a pipeline: what flags say beyond the file.
type selection struct {
	streams, sinks []string
	from, to       *time.Time
	last           time.Duration
	firstRun       bool
	recheck        bool // read again all that is committed
	once           bool // don't follow
	newSelection   bool
}

// assembled is one pipeline, ready to run.
type assembled struct {
	config     *config.Pipeline
	fileless   bool // as the host's
	supervisor *supervisor.Supervisor
	requests   *requestCounter
	streams    []sinks.Stream
	buffers    map[string]int64 // by stream: what a read may hold, in bytes
	schema     []byte           // of the source's settings
	budget     planBudget       // of its reads
	run        pipeline.Config
	first      *supervisor.Plugin // started by assemble, handed out by the first Start
	spool      string             // the folder of its processes' own, without what earlier runs left; empty: not made

	log    *slog.Logger
	mu     sync.Mutex
	opened map[string]sinks.Sink // by name
	closed bool
}

// Close ends the plugin and closes the sinks. A sink that doesn't end is left.
func (p *assembled) Close() error {
	var errs []error
	if p.first != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		errs = append(errs, p.first.Stop(ctx))
	}
	if p.supervisor != nil {
		errs = append(errs, p.supervisor.Close())
	}
	errs = append(errs, p.closeSinks())
	if p.run.Spool != nil {
		errs = append(errs, p.run.Spool.Close())
		p.run.Spool = nil
	}
	if p.spool != "" {
		errs = append(errs, os.RemoveAll(p.spool)) // its processes have ended
		p.spool = ""
	}
	return errors.Join(errs...)
}

// stopTime bounds how long an ending plugin is waited for.
const stopTime = 8 * time.Second

// pluginTLS names the variable that has plugins' sockets encrypted.
const pluginTLS = "SLUICE_PLUGIN_TLS"

// mutualTLS reads it.
func (a *app) mutualTLS() (bool, error) {
	switch v := a.getenv(pluginTLS); v {
	case "":
		return false, nil
	case "mutual":
		return true, nil
	default:
		return false, fault.Errorf(fault.Config, "start plugins", "%s is %q", pluginTLS, v).WithHint("want mutual, or no such variable")
	}
}

// supervise makes what starts a pipeline's processes, and starts none.
func (h *host) supervise(c *config.Pipeline) (*assembled, error) {
	p := &assembled{
		config: c, fileless: h.fileless, requests: &requestCounter{Manager: h.budget}, log: h.log.With("pipeline", c.Name),
	}
	mutual, err := h.app.mutualTLS()
	if err != nil {
		return nil, err
	}
	p.supervisor, err = supervisor.New(supervisor.Options{
		Budget: p.requests, Log: p.log, Version: buildVersion(), WorkDir: h.config.Dir,
		Timeouts: supervisor.Timeouts{Silence: h.app.silence}, MutualTLS: mutual,
	})
	return p, err
}

// assemble starts a pipeline's source, opens its sinks and fills in what a run needs. openSinks false leaves the sinks
// closed, for commands that only look.
func (h *host) assemble(ctx context.Context, c *config.Pipeline, sel selection, openSinks bool) (p *assembled, err error) {
	p, err = h.supervise(c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	plugin, configured, settings, err := h.startPlugin(ctx, p)
	if err != nil {
		return p, &startError{asUsage(err)}
	}
	p.first = plugin
	description, err := plugin.Describe(ctx)
	if err != nil {
		return p, err
	}
	streams, partitions, err := h.streams(c, sel, description, configured, settings)
	if err != nil {
		return p, err
	}
	p.streams, p.buffers, p.schema = streams, map[string]int64{}, description.ConfigSchema
	p.budget = budgetOfPlan(description, c.Source.Config.JSON)
	for _, s := range description.Streams {
		p.buffers[s.Name] = s.Buffer
	}
	p.run = pipeline.Config{
		Name: c.Name, SourceName: description.Name, SourceVer: description.Version, Version: buildVersion(),
		Partitions: partitions, Streams: streamRules(description, configured), Lag: c.Lag, HostClock: c.Clock == config.ClockHost,
		Window: c.Flow.Window, Parallel: c.Flow.Parallel, Attempts: c.Retry.Attempts, MaxBackoff: c.Retry.MaxBackoff,
		DeadPath: c.DeadLetter.Path, DeadMax: uint64(c.DeadLetter.Max), DeadRecord: c.DeadLetter.MaxRecord,
		Ledger: h.ledger, Log: h.log.With("pipeline", c.Name), Step: h.app.step,
		Start: func(ctx context.Context) (pipeline.Source, error) {
			if plugin := p.first; plugin != nil {
				p.first = nil
				return source{plugin}, nil
			}
			plugin, _, _, err := h.startPlugin(ctx, p)
			if err != nil {
				return nil, err
			}
			return source{plugin}, nil
		},
	}
	if err := setRange(&p.run, c.Range, sel); err != nil {
		return p, err
	}
	h.setRecheck(p, sel)
	if openSinks {
		err = h.openSinks(ctx, p, sel, streams)
	}
	return p, err
}

// startError is why a source's process couldn't be started and configured: of assemble's errors the one that may pass.
type startError struct{ error }

func (e *startError) Unwrap() error { return e.error }

// asUsage gives an error of kind Config, which only a person can mend in the file, the exit code of a wrong file.
func asUsage(err error) error {
	if fault.KindOf(err) == fault.Config {
		return usageError(err)
	}
	return err
}

// startPlugin starts the source's process and configures it. Secrets are read anew each time; the settings that it returns
// hold them.
func (h *host) startPlugin(ctx context.Context, p *assembled) (*supervisor.Plugin, supervisor.Configured, json.RawMessage, error) {
	none := supervisor.Configured{}
	settings, secrets, err := p.config.Source.Config.Resolve(config.Environment{})
	if err != nil {
		return nil, none, nil, err
	}
	plugin, configured, err := h.startWith(ctx, p, p.config.Source.Type, settings, secrets)
	return plugin, configured, settings, err
}

// startWith starts a source's process and configures it with resolved settings.
func (h *host) startWith(
	ctx context.Context, p *assembled, source string, settings json.RawMessage, secrets config.Secrets,
) (*supervisor.Plugin, supervisor.Configured, error) {
	none := supervisor.Configured{}
	h.app.log.redactor.Add(secrets)
	network, err := hostNetwork(h.app.getenv)
	if err != nil {
		return nil, none, err
	}
	spool, err := p.spoolFolder(h.spoolFolder())
	if err != nil {
		return nil, none, fmt.Errorf("spool folder: %w", err)
	}
	plugin, err := p.supervisor.Start(ctx, supervisor.Spec{Name: source})
	if err != nil {
		return nil, none, err
	}
	revealed := make([]string, len(secrets))
	for i, s := range secrets {
		revealed[i] = s.Reveal()
	}
	configured, err := plugin.Configure(ctx, supervisor.Config{
		Settings: settings, Secrets: revealed, HTTP: network, Spool: spool, LogLevel: h.app.logLevel,
		Answer: answerTime(settings),
		Slice:  supervisor.SliceTarget{Duration: p.config.Flow.Slice.Duration, Bytes: uint64(p.config.Flow.Slice.Bytes)},
	})
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		return nil, none, errors.Join(err, plugin.Stop(stop))
	}
	for _, w := range configured.Warnings {
		h.log.Warn(w, "pipeline", p.config.Name)
	}
	return plugin, configured, nil
}

// answerTime is how long a source's settings let the vendor be silent, 0 if they don't say.
func answerTime(settings json.RawMessage) time.Duration {
	var known struct {
		HTTP struct {
			Timeout string `json:"timeout"`
		} `json:"http"`
	}
	if json.Unmarshal(settings, &known) != nil {
		return 0 // of another plugin, whose settings mean what it likes
	}
	d, err := config.ParseDuration(known.HTTP.Timeout)
	if err != nil {
		return 0
	}
	return time.Duration(d)
}

// spoolFolder makes a folder for the next process: the one before may still be ending. What earlier runs left goes first.
func (p *assembled) spoolFolder(base string) (string, error) {
	base = filepath.Join(base, p.config.Name)
	if p.spool == "" {
		if err := os.RemoveAll(base); err != nil {
			return "", err
		}
		p.spool = base
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(base, "process-")
}

// hostNetwork is how this machine reaches the world: the plugin's environment is empty, so it is told.
func hostNetwork(getenv func(string) string) (supervisor.HTTP, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	network := supervisor.HTTP{
		Proxy:   first("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
		NoProxy: first("NO_PROXY", "no_proxy"),
	}
	if path := getenv("SSL_CERT_FILE"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return network, fault.New(fault.Config, "SSL_CERT_FILE", "correct or unset the variable", err)
		}
		network.CAPEM = pem
	}
	return network, nil
}

// streams finds the pipeline's streams and their partitions under its selection.
func (h *host) streams(c *config.Pipeline, sel selection, d supervisor.Description, configured supervisor.Configured, resolved json.RawMessage) ([]sinks.Stream, []pipeline.Partition, error) {
	settings, err := config.SelectionSettings(d.ConfigSchema, resolved)
	if err != nil {
		return nil, nil, err
	}
	id, err := flow.NewSelectionID(d.Name, settings)
	if err != nil {
		return nil, nil, usageError(err)
	}
	var streams []sinks.Stream
	var partitions []pipeline.Partition
	for _, name := range c.Streams {
		if !chosen(sel.streams, name) {
			continue
		}
		s, ok := d.Stream(name)
		if !ok {
			return nil, nil, usageError(fmt.Errorf("pipeline %s: source %s has no stream %q", c.Name, d.Name, name))
		}
		streams = append(streams, sinks.Stream{Name: s.Name, Selection: id, Schema: s.Schema, PartitionBy: s.PartitionBy, DigestColumns: s.DigestColumns})
		keys := configured.Partitions[name]
		switch {
		case s.PartitionBy == "":
			keys = []supervisor.PartitionKey{{}}
		case len(keys) == 0:
			return nil, nil, usageError(nothingNamed(c, s, d.ConfigSchema))
		}
		for _, k := range keys {
			partitions = append(partitions, pipeline.Partition{
				Partition: flow.Partition{Selection: id, Stream: name, Key: k.Key}, Name: k.Name,
			})
		}
	}
	if len(streams) == 0 {
		return nil, nil, usageError(fmt.Errorf("pipeline %s: --stream leaves nothing of its streams %v", c.Name, c.Streams))
	}
	return streams, partitions, nil
}

// nothingNamed is the error of a stream that is read piece by piece and has no pieces.
func nothingNamed(c *config.Pipeline, s supervisor.Stream, schema []byte) error {
	hint := "or choose other streams; `sluice discover` lists what there is"
	var known settingSchema
	if json.Unmarshal(schema, &known) == nil {
		keys := slices.DeleteFunc([]string{"logs", "logsets", "projects"}, func(key string) bool { return !known.has(key) })
		if len(keys) > 0 {
			hint = "give " + strings.Join(keys, " or ") + " in the source's config, " + hint
		}
	}
	return fault.New(fault.Config, "", hint, fmt.Errorf("pipeline %s: nothing is named that the stream %s could be read of", c.Name, s.Name))
}

// streamRules says of each stream which ranges of it may be asked for.
func streamRules(d supervisor.Description, configured supervisor.Configured) map[string]pipeline.Stream {
	rules := make(map[string]pipeline.Stream, len(d.Streams))
	for _, s := range d.Streams {
		rules[s.Name] = pipeline.Stream{
			Snapshot: s.Kind == supervisor.Snapshot, Granularity: s.Granularity, Settle: configured.Settle[s.Name],
			DigestColumns: s.DigestColumns, Schema: s.Schema,
		}
	}
	return rules
}

func chosen(wanted []string, name string) bool {
	if len(wanted) == 0 {
		return true
	}
	for _, w := range wanted {
		if w == name {
			return true
		}
	}
	return false
}

// setRange fills in the asked range: the flags' if given, else the file's.
func setRange(run *pipeline.Config, r config.Range, sel selection) error {
	run.From, run.Last = r.From, r.Last
	if r.To != nil {
		run.To = *r.To
	}
	switch {
	case sel.last > 0 && (sel.from != nil || sel.to != nil):
		return usageError(errors.New("--last excludes --from and --to"))
	case sel.last > 0:
		run.From, run.To, run.Last = time.Time{}, time.Time{}, sel.last
	case sel.from != nil:
		run.From, run.Last = *sel.from, 0
	}
	if sel.to != nil {
		run.To = *sel.to
	}
	if !run.To.IsZero() && !run.From.IsZero() && !run.From.Before(run.To) {
		return usageError(fmt.Errorf("the range is empty: from %s, to %s", run.From.Format(time.RFC3339), run.To.Format(time.RFC3339)))
	}
	return checkLast(run)
}

// checkLast refuses a range that begins so long before now that no time can be given for it. This machine's clock is good enough for that.
func checkLast(run *pipeline.Config) error {
	end := run.To
	if end.IsZero() {
		end = time.Now().Add(-run.Lag)
	}
	from := end.Add(-run.Last)
	if run.Last == 0 || !from.Before(time.Unix(0, 0)) {
		return nil
	}
	return usageError(fault.New(fault.Config, "range", "say `from`, or a shorter `last`: no time before 1970-01-01 can be asked for",
		fmt.Errorf("the last %s begin in the year %d", shortDuration(run.Last), from.UTC().Year())))
}
