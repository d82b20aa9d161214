package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/proto/fault"
)

// clockAhead is how far the clocks may differ before check says so: some vendors refuse signatures that differ by five minutes.
const clockAhead = time.Minute

// clockTick is the least difference that is told: a vendor's time comes in whole seconds, and takes a while to come.
const clockTick = 2 * time.Second

// contact is what `check --online` found at a vendor.
type contact struct {
	Summary string      `json:"summary"` // what was proved
	Now     string      `json:"vendor_now,omitempty"`
	Ahead   *float64    `json:"ahead_seconds,omitempty"` // the vendor's clock of ours; absent: the vendor tells no time
	Proxy   string      `json:"proxy"`                   // without credentials; empty: direct
	ToBound *boundFound `json:"to_bound,omitempty"`
}

// openLooker opens what the checks look with: with online the state itself, whose budget the requests to the vendor count against.
func (k *checker) openLooker(ctx context.Context, c *config.Config) (*looker, error) {
	if !k.online {
		return k.app.openLooker(ctx, c)
	}
	if err := ledger.Usable(c.State); err != nil {
		return nil, err
	}
	h, err := k.app.openHost(ctx, c)
	if err != nil {
		return nil, &exitError{codeOf(err), err}
	}
	return &looker{host: h}, nil
}

// contact asks a pipeline's vendor.
func (l *looker) contact(ctx context.Context, p *assembled) (*contact, error) {
	proxy, err := l.proxyOf(p.config)
	if err != nil {
		return nil, err
	}
	out := &contact{Proxy: proxy}
	began := time.Now()
	switch now, err := p.first.Now(ctx); {
	case errors.Is(err, supervisor.ErrNoClock) && p.run.HostClock:
	case err != nil:
		return nil, fmt.Errorf("%w %s", err, way(proxy))
	default:
		// The answer is about as old as half of what it took.
		ours := began.Add(time.Since(began) / 2)
		ahead := now.Sub(ours).Round(time.Second).Seconds()
		out.Now, out.Ahead = stamp(now), &ahead
	}
	out.Summary, err = p.first.Check(ctx)
	if errors.Is(err, supervisor.ErrNotSupported) {
		out.Summary, err = "the source can't prove credentials; `sluice preview` does", nil
	}
	if err != nil && out.Ahead != nil && out.farOff() {
		return nil, fmt.Errorf("%w (the vendor's clock is %s)", err, out.difference())
	}
	return out, err
}

// vendorFailed gives what came from the vendor the exit code of a failure; what only the file can mend keeps its own.
func vendorFailed(err error) error {
	var coded *exitError
	if errors.As(err, &coded) || fault.KindOf(err) == fault.Config {
		return err
	}
	return failedError(err)
}

// proxyOf returns the proxy that leads to a pipeline's vendor, without its credentials; empty without one.
func (h *host) proxyOf(c *config.Pipeline) (string, error) {
	settings, secrets, err := c.Source.Config.Resolve(config.Environment{})
	if err != nil {
		return "", err
	}
	h.app.log.redactor.Add(secrets)
	var own struct {
		HTTP struct {
			Proxy string `json:"proxy"`
		} `json:"http"`
	}
	if err := json.Unmarshal(settings, &own); err != nil {
		return "", fmt.Errorf("settings of %s: %w", c.Source.Type, err)
	}
	if own.HTTP.Proxy == "" {
		network, err := hostNetwork(h.app.getenv)
		if err != nil {
			return "", err
		}
		own.HTTP.Proxy = network.Proxy
	}
	if own.HTTP.Proxy == "" {
		return "", nil
	}
	u, err := url.Parse(own.HTTP.Proxy)
	if err != nil {
		return "", fault.New(fault.Config, "proxy", "write it as http://HOST:PORT", errors.New("the proxy's URL is not valid"))
	}
	u.User = nil
	return u.String(), nil
}

func way(proxy string) string {
	if proxy == "" {
		return "(no proxy is set)"
	}
	return "(by the proxy " + proxy + ", unless NO_PROXY names the vendor)"
}

func (c *contact) farOff() bool {
	return c.Ahead != nil && durationOf(*c.Ahead).Abs() > clockAhead
}

func (c *contact) difference() string { return difference(durationOf(*c.Ahead)) }

// clocksDiffer says what it means for a run that the vendor's clock is ahead of this machine's, which says now, by more than clockAhead
// (negative: behind), and what to do; without a file, if the config has none. Both are empty if it isn't.
func clocksDiffer(now time.Time, ahead time.Duration, fileless bool) (text, hint string) {
	if ahead.Abs() <= clockAhead {
		return "", ""
	}
	means := "it decides how far is read: if it is the wrong one, time that hasn't come counts as covered, and isn't read when it comes"
	hint = "set this machine's clock if that is wrong; else set `clock: host` on the pipeline, and `sluice forget` what lies ahead"
	if ahead < 0 {
		means = "it decides how far is read: if it is the wrong one, the latest records are read that much later"
		hint = "set this machine's clock if that is wrong; else set `clock: host` on the pipeline"
	}
	if fileless {
		hint = "set this machine's clock if that is wrong; else give --to, or with --save set `clock: host` in the file, and run that"
	}
	ahead = ahead.Round(time.Second)
	return fmt.Sprintf("the vendor's clock says %s, this machine's %s, so it is %s; %s", now.Add(ahead).UTC().Format(time.RFC3339),
		now.UTC().Format(time.RFC3339), difference(ahead), means), hint
}

func difference(d time.Duration) string {
	switch {
	case d.Abs() < clockTick: // the vendor tells whole seconds
		return "this machine's"
	case d > 0:
		return shortDuration(d) + " ahead of this machine's"
	}
	return shortDuration(-d) + " behind this machine's"
}

// rows are the lines of the table about the vendor.
func (c *contact) rows() [][]string {
	if c == nil {
		return nil
	}
	clock := "the vendor tells none; the pipeline goes by this machine's"
	if c.Ahead != nil {
		clock = "the vendor's is " + c.difference()
		if c.farOff() {
			clock += ": set this machine's clock, such as by NTP; signed requests may be refused"
		}
	}
	proxy := "none"
	if c.Proxy != "" {
		proxy = c.Proxy + ", unless NO_PROXY names the vendor"
	}
	out := [][]string{{"  vendor", printable(c.Summary)}, {"  clock", clock}, {"  proxy", proxy}}
	if c.ToBound != nil {
		out = append(out, []string{"  to_bound", printable(c.ToBound.text())})
	}
	return out
}
