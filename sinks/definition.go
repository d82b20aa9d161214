package sinks

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
)

// Definition is a type of sink: what a config calls it, its settings, and how one is opened.
type Definition struct {
	Type    string          // as in a config: "file"
	Promise string          // one line for docs and check: "exactly once per slice", "at least once"
	Config  json.RawMessage // JSON Schema (2020-12); properties may have "x-sluice-secret": true
	// Open returns a ready sink: it owns its target (see ErrOwned) and holds its lock. It validates c.Settings beyond the
	// schema. A sink whose target is taken returns ErrOwned with a hint.
	Open func(ctx context.Context, c Config) (Sink, error)
	// Check validates the settings beyond the schema and asks whether Open could succeed, without creating, locking or
	// changing anything.
	Check func(ctx context.Context, c Config) error
	// Online proves that the target can be reached and written to with these settings, without writing data, and says in one
	// sentence what was proved. nil: there is nothing to prove beyond Check.
	Online func(ctx context.Context, c Config) (string, error)
	// Buffer returns what Sizer.Buffer of a sink opened with c would, without opening it; nil: such sinks hold nothing.
	Buffer func(c Config) (int64, error)
	// Deadline returns what Deadliner.Deadline of a sink opened with c would be at least, without opening it and as far as the
	// settings tell; 0: not known before. nil: such sinks have none.
	Deadline func(c Config) (time.Duration, error)
	// Files says where and how the data files of a sink with these settings lie; nil: such sinks write none.
	Files func(c Config) (Files, error)
	// NeedsTime says that such sinks give each record a time: its column timestamp, else observed_timestamp. `check` says which
	// of them each stream has.
	NeedsTime bool
	// OneRun says of sinks without Memory that nothing is meant to last beyond a run, as with a pipe: each run writes all of what
	// it is asked for, and an empty ledger is no reason to ask first.
	OneRun bool
}

// Config is what a sink is opened with.
type Config struct {
	Settings json.RawMessage   // one JSON object, valid by the Definition's schema, secrets resolved
	Base     string            // folder that relative paths are relative to: the config file's
	Pipeline string            // informs only, and stands for {pipeline} in templates
	Source   string            // the source's type; likewise
	Labels   map[string]string // the pipeline's
	// SourceVersion is that of the source's plugin, where it is known; informs only.
	SourceVersion string
	Name          string   // the sink's name in the pipeline
	Streams       []Stream // what will be written
	Sluice        string   // the host's version, informs only
	// NewSelection lets other selections of the streams into a target beside those that it has, apart from them. A sink whose targets hold
	// one selection alone refuses another as ever.
	NewSelection bool
	// ReadOnly opens a sink for Memory, Lister and Auditor alone, beside a host that may be writing: nothing is locked, made, rolled
	// forward or swept, and Begin fails.
	ReadOnly bool
	Stdout   io.Writer // where a sink that prints records prints them; nil: not offered
	Log      *slog.Logger
}

// Stream is a stream that a sink will be given.
type Stream struct {
	Name        string
	Selection   flow.SelectionID
	Schema      *arrow.Schema
	PartitionBy string // "log_id"; empty without partitions
	// DigestColumns are the columns that the stream's digest hashes; empty: the text body.
	DigestColumns []string
}

// Locator is implemented by sinks with a place on this machine: Location is the real path (symbolic links resolved) of
// the root. The ledger maps it to Identity.
type Locator interface {
	Location() string
}
