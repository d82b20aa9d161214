package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
)

func (a *app) verifyCommand() *cobra.Command {
	v := &verification{app: a, parallel: min(max(runtime.GOMAXPROCS(0), 2), 8)}
	c := &cobra.Command{
		Use:   "verify [PIPELINE...]",
		Short: "Prove what the sinks hold, by reading it again",
		Long: "verify reads every committed slice back and compares records, bytes and digest with its commit, the files' sizes and\n" +
			"SHA-256 too, and the sinks' commit logs with the ledger. It names what is missing, truncated, changed or there twice, and\n" +
			"days that don't go with the vendor's own figures, which runs keep in the ledger. It asks no vendor, changes nothing and may\n" +
			"run beside `sluice run`. Sinks that can't be read back are named as such.\n" +
			"With --sample or --drift it downloads committed slices once more and compares what the vendor has now with what the sinks hold.\n" +
			"That costs requests and bytes of the budget, so it needs the state: not while `sluice run` holds it. Nothing is committed.\n\n" +
			"Exit: 0 all that was chosen is proved, also if that is nothing, 1 something is wrong or couldn't be read, 2 command line or file, 4 a run holds the state.",
		Example: "  sluice verify\n  sluice verify prod --last 7d --sink lake\n  sluice verify prod --sample 20",
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("sample") && v.sample < 1 {
				return usageError(fmt.Errorf("--sample %d: want at least 1", v.sample))
			}
			return interruptible(c, func(ctx context.Context) error { return v.do(ctx, args) })
		},
	}
	flags := c.Flags()
	flags.StringVar(&v.selectors.from, "from", "", "only slices that end after this: RFC 3339 or a date (UTC)")
	flags.StringVar(&v.selectors.to, "to", "", "only slices that begin before this: RFC 3339 or a date (UTC)")
	flags.Var(atLeast{time.Second, &v.selectors.last}, "last", "only slices of the last 24h, 7d, ...")
	flags.StringSliceVar(&v.selectors.streams, "stream", nil, "only these streams")
	flags.StringSliceVar(&v.selectors.sinks, "sink", nil, "only these sinks")
	flags.IntVar(&v.sample, "sample", 0, "download this many committed slices of each pipeline again, drawn by chance, and compare")
	flags.Uint64Var(&v.seed, "seed", 0, "draw the same slices as an earlier --sample (default: others each time)")
	flags.BoolVar(&v.everything, "drift", false, "download all committed slices again, or those of --from, --to and --last, and compare")
	flags.IntVar(&v.parallel, "parallel", v.parallel, "how many slices are read at once")
	return c
}

// verification is one call of `sluice verify`.
type verification struct {
	*app
	selectors  selectors
	parallel   int
	sample     int
	seed       uint64
	everything bool // --drift

	sel      selection
	asked    flow.Range // empty: all
	config   *config.Config
	ledger   *ledger.Ledger // nil: there is none
	damaged  error          // of the ledger
	running  bool           // a host is at work
	findings uint64
	sinks    []verifiedSink
	usages   []usageLine // of logs that the vendor told figures of

	unread, unprovable int // sinks
}

// verified is the last line of `verify --json`.
type verified struct {
	V          int    `json:"v"`
	TS         string `json:"ts"`
	Event      string `json:"event"` // "verified"
	Findings   uint64 `json:"findings"`
	Unreadable int    `json:"unreadable"`     // sinks that couldn't be read now
	Unprovable int    `json:"unprovable"`     // sinks that can't be read back at all
	Seed       uint64 `json:"seed,omitempty"` // that drew the slices of --sample
}

func (v *verification) do(ctx context.Context, names []string) error {
	if err := v.parse(); err != nil {
		return err
	}
	c, err := v.load()
	if err != nil {
		return err
	}
	pipelines, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	if err := v.checkNames(pipelines); err != nil {
		return usageError(err)
	}
	v.config = c
	if v.sample > 0 || v.everything {
		return v.driftAll(ctx, c, pipelines)
	}
	_, asked := control.Query(ctx, c.State)
	v.running = asked == nil
	v.ledger, err = ledger.OpenReadOnly(ctx, c.State)
	switch {
	case errors.Is(err, ledger.ErrNoLedger):
		v.say("there is no ledger in %s: the sinks are compared with their own commit logs alone", c.State)
	case errors.Is(err, ledger.ErrCorrupt): // what rebuilds it is the sinks' word, which is proved all the same
		v.ledger, v.damaged = nil, err
		v.say("the ledger in %s is damaged: the sinks are compared with their own commit logs alone", c.State)
	case err != nil:
		return &exitError{codeOf(err), err}
	default:
		defer v.ledger.Close()
	}
	for _, p := range pipelines {
		if err := v.pipeline(ctx, p); err != nil {
			return &exitError{codeOf(err), fmt.Errorf("%s: %w", p.Name, err)}
		}
	}
	return v.end()
}

// driftAll compares each pipeline with its vendor.
func (v *verification) driftAll(ctx context.Context, c *config.Config, pipelines []*config.Pipeline) error {
	h, err := v.openHost(ctx, c)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer h.Close()
	for _, p := range pipelines {
		if err := v.drift(ctx, h, p); err != nil {
			err = asUsage(err)
			return &exitError{codeOf(err), fmt.Errorf("%s: %w", p.Name, err)}
		}
	}
	if v.json {
		v.printJSON(verified{V: 1, TS: stamp(time.Now()), Event: "verified", Findings: v.findings, Seed: v.seed})
	}
	if v.findings > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// parse reads the flags.
func (v *verification) parse() (err error) {
	if v.sel, err = v.selectors.selection(); err != nil {
		return err
	}
	if v.parallel < 1 {
		return usageError(fmt.Errorf("--parallel %d: want at least 1", v.parallel))
	}
	switch {
	case v.sample > 0 && v.everything:
		return usageError(errors.New("--drift compares all slices, --sample a few of them: give one of the two"))
	case v.sample > 0 && v.seed == 0:
		v.seed = rand.Uint64N(1<<32) + 1
	}
	s := v.sel
	if s.last == 0 && s.from == nil && s.to == nil {
		return nil
	}
	v.asked = flow.Range{From: time.Unix(0, 0).UTC(), To: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
	switch {
	case s.last > 0 && (s.from != nil || s.to != nil):
		return usageError(errors.New("--last excludes --from and --to"))
	case s.last > 0:
		v.asked.From = time.Now().UTC().Add(-s.last).Truncate(time.Millisecond)
		return nil
	}
	if s.from != nil {
		v.asked.From = *s.from
	}
	if s.to != nil {
		v.asked.To = *s.to
	}
	if v.asked.Empty() {
		return usageError(fmt.Errorf("the range is empty: from %s, to %s", v.asked.From.Format(time.RFC3339), v.asked.To.Format(time.RFC3339)))
	}
	return nil
}

// checkNames refuses sinks and streams that no pipeline has.
func (v *verification) checkNames(pipelines []*config.Pipeline) error {
	for _, name := range v.sel.sinks {
		if !slices.ContainsFunc(pipelines, func(p *config.Pipeline) bool {
			return slices.ContainsFunc(p.Sinks, func(s config.Sink) bool { return s.Name == name })
		}) {
			return fmt.Errorf("no sink of the chosen pipelines is called %q", name)
		}
	}
	for _, name := range v.sel.streams {
		if !slices.ContainsFunc(pipelines, func(p *config.Pipeline) bool { return slices.Contains(p.Streams, name) }) {
			return fmt.Errorf("no chosen pipeline has a stream %q", name)
		}
	}
	return nil
}

// pipeline verifies the sinks of one pipeline. What couldn't be read is told and counted; an error ends the command.
func (v *verification) pipeline(ctx context.Context, p *config.Pipeline) error {
	for _, s := range p.Sinks {
		if !chosen(v.sel.sinks, s.Name) {
			continue
		}
		out, err := v.sink(ctx, p, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var unread *unreadError
		if err != nil && !errors.As(err, &unread) && codeOf(asUsage(err)) == exitUsage {
			return asUsage(err)
		}
		if err != nil {
			v.findings += out.Findings
			out.State, out.Error = unreadable, err.Error()
		}
		v.printSink(out, err)
		if err := v.usage(ctx, p, s); err != nil {
			return err
		}
	}
	return nil
}

// end prints the table and decides the exit code.
func (v *verification) end() error {
	if v.json {
		v.printJSON(verified{
			V: 1, TS: stamp(time.Now()), Event: "verified", Findings: v.findings, Unreadable: v.unread, Unprovable: v.unprovable,
		})
	} else if err := errors.Join(v.printVerified(), v.printUsages()); err != nil {
		return err
	}
	switch {
	case v.damaged != nil:
		return &exitError{exitFailed, v.damaged}
	case v.findings > 0 || v.unread > 0:
		return &exitError{code: exitFailed}
	case len(v.sinks) > 0 && v.unprovable == len(v.sinks):
		return usageError(errors.New("none of the chosen sinks can be read back: nothing was proved"))
	}
	return nil
}
