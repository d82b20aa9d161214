package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/encode"
)

// initFlags are the flags of init.
type initFlags struct {
	config.Init
	from   string
	output string
	force  bool
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a commented config file",
		Long: "init writes a config file that fetches Rapid7 logs into files each time it runs: `from` is fixed and there is no `to`.\n" +
			"The key is taken from $R7_API_KEY when it is needed; the file holds no secret.",
		Example: "  sluice init --region eu --log 01234567-89ab-cdef-0123-456789abcdef",
		Args:    exactArgs(0),
		RunE:    func(*cobra.Command, []string) error { return a.init(f, time.Now()) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.output, "output", "o", config.FileName, "file to write; - is standard output")
	flags.BoolVar(&f.force, "force", false, "overwrite the file if it is there")
	flags.StringVar(&f.Region, "region", "eu", "the vendor's region")
	flags.StringSliceVar(&f.Logs, "log", nil, "ID of a log; may be given several times")
	flags.StringVar(&f.from, "from", "", "first day, UTC (default: yesterday)")
	flags.StringVar(&f.Path, "path", "./lake", "folder to write to, relative to the file")
	flags.StringVar(&f.Format, "format", "ndjson", "raw, ndjson or csv")
	flags.StringVar(&f.BaseURL, "base-url", "", "another address of the API, such as a simulator's")
	return c
}

func (a *app) init(f initFlags, now time.Time) error {
	f.From = now.UTC().AddDate(0, 0, -1)
	if f.from != "" {
		t, err := config.ParseTime(f.from)
		if err != nil {
			return usageError(fmt.Errorf("--from: %w", err))
		}
		f.From = t.Time
	}
	if !slices.Contains(encode.Formats(), encode.Format(f.Format)) {
		return usageError(fmt.Errorf("--format %q: want one of %v", f.Format, encode.Formats()))
	}
	text := config.InitFile(f.Init)
	// Whatever a flag held, the file must be one that run accepts.
	if _, err := config.Parse(f.output, text, registry()); err != nil {
		return usageError(fmt.Errorf("these flags make a file that isn't valid:\n%w", err))
	}
	if f.output == "-" {
		return a.printText(string(text))
	}
	if err := writeNew(f.output, text, f.force); err != nil {
		return usageError(err)
	}
	if a.json {
		a.printJSON(struct {
			V     int    `json:"v"`
			TS    string `json:"ts"`
			Event string `json:"event"`
			Path  string `json:"path"`
		}{1, stamp(now), "init", f.output})
		return nil
	}
	next := "set R7_API_KEY, then `sluice check`, `sluice plan` and `sluice run`"
	if len(f.Logs) == 0 {
		next = "put the IDs of your logs into it, " + next
	}
	if f.output != config.FileName {
		next = strings.ReplaceAll(next, "`sluice ", "`sluice -f "+f.output+" ")
	}
	a.say("wrote %s. Next: %s", f.output, next)
	return nil
}

// writeNew writes a file that mustn't be there yet, unless force says so.
func writeNew(path string, text []byte, force bool) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, how, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Config, "", "choose another with -o, or overwrite it with --force", fmt.Errorf("%s is there already", path))
	} else if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
