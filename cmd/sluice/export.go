package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/flow"
)

// exportFlags are the flags of ledger export.
type exportFlags struct {
	format    string
	pipelines []string
	tables    []string
	out       string
}

// The formats of an export.
const (
	exportNDJSON  = "ndjson"
	exportParquet = "parquet"
)

func (a *app) exportCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export [PIPELINE...]",
		Short: "Write the account as NDJSON or Parquet",
		Long: "export writes what the ledger holds of the pipelines, as it stands at one moment, beside a run or without one: every slice\n" +
			"with its state, sums, digest and files, what the vendor no longer has, what was forgotten or given up, runs, and what\n" +
			"was measured. The same ledger gives the same bytes. NDJSON holds all tables, each line with the name of its own; Parquet\n" +
			"holds one. docs/ledger.md has the columns.",
		Example: "  sluice ledger export -o account.ndjson\n  sluice ledger export prod --format parquet --table slices -o slices.parquet",
		RunE: func(c *cobra.Command, args []string) error {
			f.pipelines = append(f.pipelines, args...)
			return interruptible(c, func(ctx context.Context) error { return a.export(ctx, f) })
		},
	}
	c.Flags().StringVar(&f.format, "format", exportNDJSON, "ndjson or parquet")
	c.Flags().StringSliceVar(&f.pipelines, "pipeline", nil, "only these pipelines, also some that the file no longer has")
	c.Flags().StringSliceVar(&f.tables, "table", nil, "only these tables (parquet: one, slices without it)")
	c.Flags().StringVarP(&f.out, "output", "o", "", "write to this file instead of standard output")
	return c
}

// exporter writes rows of tables.
type exporter interface {
	begin(t ledger.Table) error
	row(t ledger.Table, values []any) error
	close() error
}

// exportedLine is what `ledger export --json -o FILE` prints.
type exportedLine struct {
	V     int               `json:"v"`
	TS    string            `json:"ts"`
	Event string            `json:"event"` // "ledger_exported"
	Path  string            `json:"path"`
	Rows  map[string]uint64 `json:"rows"` // by table
}

func (a *app) export(ctx context.Context, f exportFlags) error {
	switch {
	case f.format != exportNDJSON && f.format != exportParquet:
		return usageError(fmt.Errorf("--format %q: want ndjson or parquet", f.format))
	case f.format == exportParquet && len(f.tables) > 1:
		return usageError(errors.New("--format parquet: a Parquet file holds one table, so give one --table"))
	case f.format == exportParquet && f.out == "" && a.toTerminal():
		return usageError(errors.New("--format parquet isn't for a terminal: use -o FILE"))
	case f.format == exportParquet && len(f.tables) == 0:
		f.tables = []string{"slices"}
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	l, err := ledger.OpenReadOnly(ctx, c.State)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer l.Close()
	if err := knownPipelines(ctx, l, c, f.pipelines); err != nil {
		return err
	}
	rows, err := a.exportTo(ctx, l, f)
	var output *fs.PathError // of the output, such as a full disk
	if errors.As(err, &output) && a.printErr == nil && codeOf(err) != exitUsage {
		return failedError(err)
	}
	if err != nil {
		return asUsage(err)
	}
	if f.out == "" {
		return nil
	}
	total := uint64(0)
	for _, n := range rows {
		total += n
	}
	a.say("%s in %s", counted(total, "row"), f.out)
	if a.json {
		a.printJSON(exportedLine{V: 1, TS: stamp(time.Now()), Event: "ledger_exported", Path: f.out, Rows: rows})
	}
	return nil
}

func (a *app) toTerminal() bool {
	f, ok := a.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// knownPipelines refuses names that neither the file nor the ledger has: an empty export would pass for an account.
func knownPipelines(ctx context.Context, l *ledger.Ledger, c *config.Config, names []string) error {
	known, err := l.Pipelines(ctx)
	if err != nil {
		return failedError(err)
	}
	for _, p := range c.Pipelines {
		known = append(known, p.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			slices.Sort(known)
			return usageError(fmt.Errorf("no pipeline is called %q, neither in %s nor in the ledger; there are %v", n, c.Path, slices.Compact(known)))
		}
	}
	return nil
}

// exportTo writes the account to its file, which appears whole or not at all, or to standard output.
func (a *app) exportTo(ctx context.Context, l *ledger.Ledger, f exportFlags) (rows map[string]uint64, err error) {
	var to io.Writer = dataOutput{a}
	st, statErr := os.Stat(f.out)
	switch {
	case f.out == "":
	case statErr == nil && !st.Mode().IsRegular(): // a device or a pipe is written to, never replaced
		file, err := os.OpenFile(f.out, os.O_WRONLY, 0)
		if err != nil {
			return nil, usageError(fmt.Errorf("-o: %w", err))
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		to = file
	default:
		temp := filepath.Join(filepath.Dir(f.out), fmt.Sprintf(".%s.%d.tmp", filepath.Base(f.out), os.Getpid()))
		file, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
		if err != nil {
			return nil, usageError(fmt.Errorf("-o: %w", err))
		}
		defer func() {
			err = errors.Join(err, file.Close())
			if err == nil {
				err = os.Rename(temp, f.out)
			}
			if err != nil {
				_ = os.Remove(temp)
			}
		}()
		to = file
	}
	buffered := bufio.NewWriterSize(to, 1<<20)
	var w exporter = &ndjsonExport{w: buffered}
	if f.format == exportParquet {
		w = &parquetExport{w: buffered}
	}
	rows = map[string]uint64{}
	err = l.Export(ctx, f.pipelines, f.tables,
		func(t ledger.Table) error {
			rows[t.Name] = 0
			return w.begin(t)
		},
		func(t ledger.Table, values []any) error {
			rows[t.Name]++
			return w.row(t, values)
		})
	return rows, errors.Join(err, w.close(), buffered.Flush())
}

// ndjsonExport writes a line for each row: its table, then its columns in their order.
type ndjsonExport struct{ w *bufio.Writer }

func (e *ndjsonExport) begin(ledger.Table) error { return nil }

func (e *ndjsonExport) row(t ledger.Table, values []any) error {
	line := append([]byte(`{"table":`), quote(t.Name)...)
	for i, c := range t.Columns {
		line = append(line, ',')
		line = append(line, quote(c.Name)...)
		line = append(line, ':')
		v := values[i]
		if at, ok := v.(time.Time); ok {
			v = at.Format(flow.Layout)
		}
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t.Name, c.Name, err)
		}
		line = append(line, text...)
	}
	_, err := e.w.Write(append(line, "}\n"...))
	return err
}

func (e *ndjsonExport) close() error { return nil }

func quote(name string) []byte {
	text, err := json.Marshal(name)
	if err != nil {
		panic(err) // of a string
	}
	return text
}

// dataOutput is standard output for data: its first error ends the command as that of any other output.
type dataOutput struct{ app *app }

func (o dataOutput) Write(p []byte) (int, error) {
	o.app.printMu.Lock()
	defer o.app.printMu.Unlock()
	n, err := o.app.stdout.Write(p)
	o.app.printFailed(err)
	return n, err
}
