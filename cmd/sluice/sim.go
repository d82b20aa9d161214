package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// simFlags are the flags of sim.
type simFlags struct {
	listen         string
	public         bool
	key            string
	seed           uint64
	start          string
	days, lines    int
	bulk           config.Size
	folder         string
	limit          int64
	to             string
	window         config.Duration
	requests       int64
	bytes          config.Size
	clockOffset    time.Duration
	gzip           bool
	wrongKeyStatus int
	late           float64
	lateMax        config.Duration
	faults         string
}

func (a *app) simCommand() *cobra.Command {
	f := simFlags{}
	c := &cobra.Command{
		Use:   "sim",
		Short: "Simulate the vendors' APIs on this machine",
		Long: "sim serves the APIs of Rapid7 Log Search (downloads, queries, usage, lists) and of NAVER Cloud ELSA as documented, with seeded\n" +
			"lines of its own, until SIGINT, SIGTERM or SIGHUP. It prints its base URL, its keys, logs and projects; each request is logged at\n" +
			"--log-level debug.",
		Example: "  sluice sim --listen 127.0.0.1:8514\n  sluice sim --bulk 1GiB --days 1\n  sluice sim --faults faults.json --requests 20 --window 1s",
		Args:    exactArgs(0),
		RunE:    func(c *cobra.Command, _ []string) error { return a.sim(c.Context(), f) },
	}
	f.add(c.Flags())
	return c
}

func (f *simFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "address to listen on; port 0 is any free one")
	flags.BoolVar(&f.public, "public", false, "allow --listen on an address that other machines reach")
	flags.StringVar(&f.key, "key", vendorsim.DemoKey, "API key that is accepted")
	flags.Uint64Var(&f.seed, "seed", 1, "of the generated lines: the same seed and range give the same bytes")
	flags.StringVar(&f.start, "start", "", "first day of the data (default: so many days that the last is today)")
	flags.IntVar(&f.days, "days", 7, "days of data")
	flags.IntVar(&f.lines, "lines", 0, "lines of each of the large logs (0: 20,000)")
	flags.Var(&f.bulk, "bulk", "instead of the seeded logs, one log of this size spread over the days")
	flags.StringVar(&f.folder, "folder", "", "instead of the seeded logs, one log for each *.log file of this folder")
	flags.Int64Var(&f.limit, "limit", 0, "most lines of one download (0: the vendor's 20 million)")
	flags.StringVar(&f.to, "to", "exclusive", "what the vendor's `to` means: exclusive or inclusive")
	flags.Var(&f.window, "window", "budget window (0: the vendor's 15m)")
	flags.Int64Var(&f.requests, "requests", 0, "requests a window (0: the vendor's 150)")
	flags.Var(&f.bytes, "bytes", "bytes a window (0: the vendor's 75GB)")
	flags.DurationVar(&f.clockOffset, "clock-offset", 0, "how far the vendor's clock is ahead, may be negative")
	flags.BoolVar(&f.gzip, "gzip", false, "compress for clients that accept it")
	flags.IntVar(&f.wrongKeyStatus, "wrong-key-status", 404, "answer to a wrong key: 404 or 401")
	flags.Float64Var(&f.late, "late", 0, "share of the records that are indexed late, such as 0.05")
	flags.Var(&f.lateMax, "late-max", "how late they are at most (0: a day)")
	flags.StringVar(&f.faults, "faults", "", "file with a JSON script of faults")
}

func (a *app) sim(ctx context.Context, f simFlags) error {
	options, err := f.options(time.Now())
	if err != nil {
		return usageError(err)
	}
	options.Observe = func(r vendorsim.Request) {
		a.log.logger.Debug("request", "path", r.Path, "query", r.Query, "status", r.Status, "lines", r.Lines, "bytes", r.Bytes,
			"fault", r.Fault, "complete", r.Complete, "beyond_budget", r.Beyond)
	}
	sim, err := vendorsim.New(options)
	if err != nil {
		return usageError(err)
	}
	defer sim.Close()
	ctx, stop := signal.NotifyContext(ctx, stopSignals()...)
	defer stop()
	base, err := sim.Start(f.listen)
	if err != nil {
		return failedError(fmt.Errorf("listen on %s: %w; another --listen may be free", f.listen, err))
	}
	if err := a.printSim(base, f.key, options); err != nil {
		return failedError(err)
	}
	a.say("serving; Ctrl-C or SIGTERM ends it")
	<-ctx.Done()
	return nil
}

// options turns the flags into a simulator. now is only used for the default --start.
func (f simFlags) options(now time.Time) (vendorsim.Options, error) {
	o := vendorsim.Options{
		Keys: []string{f.key}, Download: vendorsim.Budget{Requests: f.requests, Bytes: int64(f.bytes), Window: time.Duration(f.window)},
		MaxLines: f.limit, WrongKeyStatus: f.wrongKeyStatus, Gzip: f.gzip, Clock: vendorsim.NewClock(f.clockOffset),
		Late: vendorsim.Late{Share: f.late, Max: time.Duration(f.lateMax)},
	}
	if err := f.checkListen(); err != nil {
		return o, err
	}
	switch f.to {
	case "exclusive":
	case "inclusive":
		o.ToInclusive = true
	default:
		return o, fmt.Errorf("--to %q: want exclusive or inclusive", f.to)
	}
	if f.days < 1 {
		return o, fmt.Errorf("--days %d: want at least 1", f.days)
	}
	if f.bulk > 0 && f.folder != "" {
		return o, errors.New("--bulk and --folder exclude each other")
	}
	start := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-f.days)
	if f.start != "" {
		t, err := config.ParseTime(f.start)
		if err != nil {
			return o, fmt.Errorf("--start: %w", err)
		}
		start = t.UTC()
	}
	if err := f.addLogs(&o, start); err != nil {
		return o, err
	}
	if f.faults == "" {
		return o, nil
	}
	file, err := os.Open(f.faults)
	if err != nil {
		return o, fmt.Errorf("--faults: %w", err)
	}
	defer file.Close()
	if o.Faults, err = vendorsim.ReadScript(file); err != nil {
		return o, fmt.Errorf("--faults %s: %w", f.faults, err)
	}
	return o, nil
}

func (f simFlags) addLogs(o *vendorsim.Options, start time.Time) (err error) {
	end := start.AddDate(0, 0, f.days)
	switch {
	case f.bulk > 0:
		o.Logs = []vendorsim.Log{{ID: vendorsim.LogID("bulk"), Name: "bulk", Generated: &vendorsim.Generated{
			Seed: f.seed, From: start, To: end, Bytes: int64(f.bulk),
		}}}
	case f.folder != "":
		if o.Logs, err = vendorsim.FromFolder(f.folder, start, end); err != nil {
			return fmt.Errorf("--folder: %w", err)
		}
		if len(o.Logs) == 0 {
			return fmt.Errorf("--folder %s: it holds no *.log file", f.folder)
		}
	default:
		seed := vendorsim.SeedOptions{Seed: f.seed, Start: start, Days: f.days, Lines: f.lines}
		o.Logs, o.Elsa.Projects = vendorsim.Seeded(seed), vendorsim.SeededProjects(seed)
		vendorsim.SeededDirectory(o)
	}
	return nil
}

// checkListen keeps the simulator, which proves nobody's identity, on this machine.
func (f simFlags) checkListen() error {
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: want HOST:PORT, such as 127.0.0.1:0", f.listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !f.public {
		return fmt.Errorf("--listen %q is reached by other machines: use 127.0.0.1, or say --public", f.listen)
	}
	return nil
}

// simLog is one log of a simulator, as printed.
type simLog struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type simStarted struct {
	V       int      `json:"v"`
	TS      string   `json:"ts"`
	Event   string   `json:"event"` // "sim_started"
	BaseURL string   `json:"base_url"`
	APIKey  string   `json:"api_key"`
	PID     int      `json:"pid"`
	Logs    []simLog `json:"logs"`
	// Of the account's owner; empty without one.
	OwnerKey   string `json:"owner_key,omitempty"`
	OwnerKeyID string `json:"owner_key_id,omitempty"`
	AccountID  string `json:"account_id,omitempty"`
	// Of ELSA.
	AccessKey string       `json:"access_key"`
	SecretKey string       `json:"secret_key"`
	Projects  []simProject `json:"projects"`
}

// simProject is one ELSA project of a simulator, as printed.
type simProject struct {
	Key string `json:"key"`
	ID  int64  `json:"id"`
}

func (a *app) printSim(base, key string, o vendorsim.Options) error {
	if a.json {
		line := simStarted{
			V: 1, TS: stamp(time.Now()), Event: "sim_started", BaseURL: base, APIKey: key, PID: os.Getpid(),
			OwnerKey: o.Owner.Key, OwnerKeyID: o.Owner.KeyID, AccountID: o.Owner.Account,
			AccessKey: vendorsim.DemoAccessKey, SecretKey: vendorsim.DemoSecretKey, Projects: []simProject{},
		}
		for _, l := range o.Logs {
			line.Logs = append(line.Logs, simLog{l.ID, l.Name})
		}
		for _, p := range o.Elsa.Projects {
			line.Projects = append(line.Projects, simProject{p.Key, p.ID})
		}
		a.printJSON(line)
		return nil
	}
	rows := [][]string{{"base_url", base}, {"api_key", key}}
	for _, l := range o.Logs {
		rows = append(rows, []string{"log", l.ID + "  " + l.Name})
	}
	for _, s := range o.Logsets {
		rows = append(rows, []string{"logset", s.ID + "  " + s.Name})
	}
	if o.Owner.Account != "" {
		rows = append(rows, []string{"account_id", o.Owner.Account}, []string{"owner_key_id", o.Owner.KeyID}, []string{"owner_key", o.Owner.Key})
	}
	for _, p := range o.Elsa.Projects {
		rows = append(rows, []string{"project", fmt.Sprintf("%s:%d", p.Key, p.ID)})
	}
	if len(o.Elsa.Projects) > 0 {
		rows = append(rows, []string{"access_key", vendorsim.DemoAccessKey}, []string{"secret_key", vendorsim.DemoSecretKey})
	}
	return a.printTable(rows)
}
