package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
)

// selectors are the flags that narrow a run, a plan or a status.
type selectors struct {
	from, to       string
	last           config.Duration
	streams, sinks []string
	newSelection   bool
	firstRun       bool
	recheck        bool
}

func (s *selectors) add(c *cobra.Command) {
	s.addRange(c)
	c.Flags().StringSliceVar(&s.streams, "stream", nil, "only these streams")
	c.Flags().StringSliceVar(&s.sinks, "sink", nil, "only these sinks")
}

// addRange adds the flags that choose a range.
func (s *selectors) addRange(c *cobra.Command) {
	c.Flags().StringVar(&s.from, "from", "", "begin here instead of the file's range: RFC 3339 or a date (UTC)")
	c.Flags().StringVar(&s.to, "to", "", "end before this: RFC 3339 or a date (UTC)")
	c.Flags().Var(atLeast{time.Second, &s.last}, "last", "the last 24h, 7d, ... instead of the file's range")
}

func (s *selectors) selection() (selection, error) {
	sel := selection{streams: s.streams, sinks: s.sinks, last: time.Duration(s.last), firstRun: s.firstRun, recheck: s.recheck}
	sel.newSelection = s.newSelection
	for _, f := range []struct {
		flag, value string
		into        **time.Time
	}{{"--from", s.from, &sel.from}, {"--to", s.to, &sel.to}} {
		if f.value == "" {
			continue
		}
		t, err := config.ParseTime(f.value)
		if err != nil {
			return sel, usageError(fmt.Errorf("%s: %w", f.flag, err))
		}
		*f.into = &t.Time
	}
	return sel, nil
}

// atLeast is a flag of a duration that must not be shorter, as the file's keys have theirs: one of 0 would be as if it weren't given.
type atLeast struct {
	min time.Duration
	*config.Duration
}

// Set implements pflag.Value.
func (d atLeast) Set(text string) error {
	if err := d.Duration.Set(text); err != nil {
		return err
	}
	if time.Duration(*d.Duration) < d.min {
		return fmt.Errorf("want at least %s", shortDuration(d.min))
	}
	return nil
}

// exactArgs wants n arguments and says what was given.
func exactArgs(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError(fmt.Errorf("`%s` takes %d argument(s), not %d; see `%s --help`", c.CommandPath(), n, len(args), c.CommandPath()))
		}
		return nil
	}
}

// canWrite makes sure that a file can be written, without changing what is in it or leaving an empty one.
func canWrite(path string) error {
	_, missing := os.Stat(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	err = f.Close()
	if errors.Is(missing, fs.ErrNotExist) {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
