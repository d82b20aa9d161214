package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/encode"
)

// initFlags are the flags of init.
type initFlags struct {
	config.Init
	from    string
	output  string
	force   bool
	offline bool
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a commented config file",
		Long: "init writes a config file that fetches Rapid7 logs into files each time it runs: `from` is fixed and there is no `to`.\n" +
			"The key is taken from $R7_API_KEY when it is needed; the file holds no secret.\n" +
			"Without --log the vendor is asked which logs the key sees, and the file names all of them. Without a key, with --offline or\n" +
			"if the vendor can't be asked, their place is left to be filled in.",
		Example: "  sluice init --region eu\n  sluice init --region eu --log 01234567-89ab-cdef-0123-456789abcdef",
		Args:    exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.init(ctx, f, time.Now()) })
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.output, "output", "o", config.FileName, "file to write; - is standard output")
	flags.BoolVar(&f.force, "force", false, "overwrite the file if it is there")
	flags.StringVar(&f.Region, "region", "eu", "the vendor's region")
	flags.StringSliceVar(&f.Logs, "log", nil, "ID of a log; may be given several times (default: all that the key sees)")
	flags.BoolVar(&f.offline, "offline", false, "don't ask the vendor which logs there are")
	flags.StringVar(&f.from, "from", "", "first day, UTC (default: yesterday)")
	flags.StringVar(&f.Path, "path", "./lake", "folder to write to, relative to the file")
	flags.StringVar(&f.Format, "format", "ndjson", "raw, ndjson or csv")
	flags.StringVar(&f.BaseURL, "base-url", "", "another address of the API, such as a simulator's")
	return c
}

func (a *app) init(ctx context.Context, f initFlags, now time.Time) error {
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
	c, err := config.Parse(f.output, text, registry())
	if err != nil {
		return usageError(fmt.Errorf("these flags make a file that isn't valid:\n%w", err))
	}
	if len(f.Logs) == 0 && !f.offline && a.getenv(initKey) != "" {
		// The vendor isn't asked for a file that can't be written.
		if err := f.writable(); err != nil {
			return usageError(err)
		}
		if found, err := a.findLogs(ctx, c, f); err == nil {
			f.Init, text = found, config.InitFile(found)
		} else if ctx.Err() != nil {
			return err
		} else {
			a.log.logger.Warn("the file names no logs yet: " + oneLine(err))
		}
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
	next := "set " + initKey + ", then `sluice check`, `sluice plan` and `sluice run`"
	if len(f.Logs) == 0 {
		next = "put the IDs of your logs into it, " + next
	} else if len(f.Names) > 0 {
		next = fmt.Sprintf("take out those of the %d logs that you don't want, then `sluice check`, `sluice plan` and `sluice run`", len(f.Logs))
	}
	if f.output != config.FileName {
		next = strings.ReplaceAll(next, "`sluice ", "`sluice -f "+f.output+" ")
	}
	a.say("wrote %s. Next: %s", f.output, next)
	return nil
}

// initKey is the environment variable that the file takes the key from.
const initKey = "R7_API_KEY"

// askTime bounds how long init asks the vendor: the file is of use without an answer, too.
const askTime = 10 * time.Second

// findLogs asks the vendor which logs the key sees, under the budget of the state that the file will have, and returns what
// names them all. c is the file without them.
func (a *app) findLogs(ctx context.Context, c *config.Config, f initFlags) (config.Init, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if f.output == "-" { // it isn't known where the file will lie
		dir, err := os.MkdirTemp("", "sluice-init-")
		if err != nil {
			return f.Init, err
		}
		defer os.RemoveAll(dir)
		c.State = dir
	}
	h, err := a.openHost(ctx, c)
	if err != nil {
		return f.Init, err
	}
	defer h.Close()
	if !h.log.Enabled(ctx, slog.LevelDebug) {
		h.log = slog.New(slog.DiscardHandler) // the plugin warns that no logs are named, which is why it is asked
	}
	in := f.Init
	in.Names = map[string]string{}
	err = h.discover(ctx, &c.Pipelines[0], func(found supervisor.Found) error {
		if _, again := in.Names[found.ID]; found.Kind == "log" && !again {
			in.Logs, in.Names[found.ID] = append(in.Logs, found.ID), found.Name
		}
		return nil
	})
	switch {
	case err != nil:
		return f.Init, fmt.Errorf("ask the vendor which logs the key sees: %w", err)
	case len(in.Logs) == 0:
		return f.Init, errors.New("the key is valid and sees none")
	}
	if _, err := config.Parse(f.output, config.InitFile(in), registry()); err != nil {
		return f.Init, fmt.Errorf("the vendor's logs make a file that isn't valid: %w", err)
	}
	return in, nil
}

// oneLine is an error with its hint, on one line.
func oneLine(err error) string {
	text := err.Error()
	if hint := fault.HintOf(err); hint != "" && !strings.Contains(text, hint) {
		text += "; " + hint
	}
	return printable(strings.Join(strings.Fields(text), " "))
}

// writable tells early what writeNew would refuse.
func (f initFlags) writable() error {
	if f.output == "-" {
		return nil
	}
	if _, err := os.Lstat(f.output); err == nil && !f.force {
		return isThere(f.output)
	}
	_, err := os.Stat(filepath.Dir(f.output))
	return err
}

func isThere(path string) error {
	return fault.New(fault.Config, "", "choose another with -o, or overwrite it with --force", fmt.Errorf("%s is there already", path))
}

// writeNew writes a file that mustn't be there yet, unless force says so.
func writeNew(path string, text []byte, force bool) error {
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, how, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return isThere(path)
	} else if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
