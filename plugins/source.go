// Package plugins is what the author of a source imports: the contract of a source, and Serve, which turns one into a
// plugin process. Everything about credit, frames, digests and process hand-over is the SDK's; a source plans, reads and
// emits Arrow records.
//
//	func main() {
//		plugins.Serve(plugins.Definition{Name: "acme", Version: "1.0.0", Streams: streams, Config: schema, Open: open})
//	}
//
// The package deliberately knows no vendor and no sink.
package plugins

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
)

// Source reads one vendor API. Its methods may be called concurrently; each Read has its own Emitter.
type Source interface {
	// Plan cuts a gap into slices that cover it exactly, in time order, without hole or overlap, none across a UTC day. It
	// is pure: it asks nobody and gives the same answer for the same gap. It may return fewer slices than cover the gap only
	// by stopping early: what it returns must begin at g.From and have no hole; the host asks again for the rest.
	Plan(ctx context.Context, g flow.Gap) ([]flow.Slice, error)
	// Read reads one slice into out and returns nil only if the vendor's answer was proved complete. A read that met the
	// vendor's cap returns Truncated(parts...). Other errors should be *fault.Error; a cut stream is io.ErrUnexpectedEOF.
	// When ctx ends, Read returns within a second.
	Read(ctx context.Context, s flow.Slice, out Emitter) error
}

// Emitter takes what a Read reads. Its methods must be called from one goroutine at a time.
type Emitter interface {
	// Batch sends one record batch, in frames: with the full schema of the stream or, after an Open with constants, with
	// the columns that aren't in them. It blocks while there is no credit. It takes no ownership: r is the caller's again when
	// it returns. What it needs longer it retains by reference count, so the buffers must not be overwritten while
	// references exist; an Allocator uses them again after that. Rows of one record are never reordered. After an error the
	// read has failed: Read returns it.
	Batch(ctx context.Context, r arrow.Record) error
	// Dead sends one record that is too large or unfit for a batch to the dead letters. It reads r to its end and counts
	// what it read into the manifest.
	Dead(ctx context.Context, reason string, r io.Reader) error
	// Waiting says what the read waits for, at most a line; until may be zero. It also proves life: the SDK repeats the last
	// one as long as the read is silent.
	Waiting(until time.Time, why string) error
}

// Opener is implemented by every Emitter of this SDK. A source that knows which columns have one value in the whole slice
// calls Open once, when budget is held and the vendor's first good answer has begun, and before the first Batch; without
// it the SDK opens at the first Batch or Dead, or at the end.
type Opener interface {
	// Open announces the read. Batches that follow carry only the columns that aren't in o.Constants.
	Open(ctx context.Context, o Opening) error
}

// Counter is implemented by every Emitter of this SDK: Count adds to a named counter of the read, shown in the summary.
// Names are lower case with underscores: "missing_final_newline".
type Counter interface {
	Count(name string, n uint64)
}

// Opening is what is known when a read has begun.
type Opening struct {
	// Constants is a one-row record of the columns with one value in the slice, a subset of the stream's schema in its order.
	// What the digest hashes can't be among them. The SDK retains it. Nil: none.
	Constants arrow.Record
	// VendorTime is the vendor's clock in the answer that began; zero if the vendor tells none.
	VendorTime time.Time
}

// Clock is implemented by sources whose vendor tells the time.
type Clock interface {
	// Now returns the vendor's clock, asked without key or budget.
	Now(ctx context.Context) (time.Time, error)
}

// Checker is implemented by sources that can prove their credentials by a cheap call.
type Checker interface {
	// Check returns a line that says what was proved, or an error that names the likely mistake.
	Check(ctx context.Context) (summary string, err error)
}

// Partitioner is implemented by sources whose streams have partitions.
type Partitioner interface {
	// Partitions returns the stream's partition keys that the settings name, normalised (UUIDs in lower case), each once.
	Partitions(ctx context.Context, stream string) ([]PartitionKey, error)
}

// PartitionKey is a partition as the source normalised it, with what people call it (may be empty).
type PartitionKey struct{ Key, Name string }

// Settler is implemented by sources with streams whose records still change for a time after they were first served.
type Settler interface {
	// Settle returns how much longer than the pipeline's lag a range of the stream must be over before it is read, by the
	// settings; 0: no longer.
	Settle(stream string) time.Duration
}

// Meter is implemented by sources whose vendor tells by a cheap answer how much a range holds.
type Meter interface {
	// Measure returns the vendor's own figures of the parts of r that it has figures for, in time order and without overlap; none
	// is legal, of a stream that it can't tell of as well. The figures of a vendor that counts whole days or hours are of those that
	// meet r; one that counts any range is asked for r cut at UTC midnights. The calls are paid from the budget, which ctx bounds
	// the wait for.
	Measure(ctx context.Context, p flow.Partition, r flow.Range) ([]flow.Measure, error)
}

// Discoverer is implemented by sources that can list what the credentials see.
type Discoverer interface {
	// Discover calls yield for each thing found until it returns an error, which Discover returns.
	Discover(ctx context.Context, yield func(Found) error) error
}

// Found is one thing that the credentials can see. Kind is "log", "logset", "project" or "field".
type Found struct {
	Kind, ID, Name string
	Attributes     map[string]string
}

// Definition is a source plugin: what it is, and how one is opened.
type Definition struct {
	Name    string // as in a config's source type: "rapid7-download"
	Version string // semantic version
	Streams []Stream
	Config  Schema
	Limits  []Limit // the vendor's documented limits
	// Open returns a ready source. It validates cfg.Settings beyond the schema and asks no vendor. A source that also is an
	// io.Closer is closed when the process ends.
	Open func(ctx context.Context, cfg Config) (Source, error)
}

// StreamKind is how a stream relates to time.
type StreamKind uint8

// The kinds of streams.
const (
	Time     StreamKind = iota + 1 // records of a range of time: log events, usage
	Snapshot                       // what is now: users, logs
)

// Stream is one kind of record with one Arrow schema. Columns are only ever added, nullable, at the end.
type Stream struct {
	Name        string
	Kind        StreamKind
	Schema      *arrow.Schema
	PartitionBy string // what a partition key is: "log_id"; empty without partitions
	Main        bool   // read when a pipeline names no stream
	Description string
	// DigestColumns are the columns that the digest hashes in the canonical form of proto/flow/FORMAT.md. Empty for log
	// streams, whose digest hashes the text body.
	DigestColumns []string
	// Granularity is what the vendor's answers are made of, in whole milliseconds and a divisor of a day: slices begin and end
	// at its multiples since the Unix epoch. 0: a millisecond.
	Granularity time.Duration
	// Buffer is how many bytes a Read may hold beside the batches that it has sent and one longest record: what it reads
	// ahead, sorts, or has yet to put in a batch. The host adds it to the memory that `check` prints. 0: next to nothing.
	Buffer int64
}

// Schema is a JSON Schema (2020-12) of a source's settings. Beside the standard keywords, properties may have
// "x-sluice-secret": true (never printed) and "x-sluice-selection": true (part of the selection's ID).
type Schema json.RawMessage

// Limit is what the vendor allows per key and namespace in a window. Zero Requests or Bytes mean not limited.
type Limit struct {
	Namespace string
	Requests  uint64
	Bytes     uint64
	Window    time.Duration
}

// Config is what a source is opened with. It holds secrets: never log it.
type Config struct {
	Settings json.RawMessage // one JSON object, valid by the Definition's schema, secrets resolved
	HTTP     HTTP
	Spool    string // a folder of this process's own for large intermediate files
	Slice    SliceTarget
	Limits   Limits
	Budget   Budget // never nil
	Log      *slog.Logger
}

// HTTP is how the host's machine reaches the vendor. The process's own environment holds no proxy settings.
type HTTP struct {
	Proxy     string // URL, may hold credentials; empty: direct
	NoProxy   string // comma-separated hosts, as in NO_PROXY
	CAPEM     []byte // PEM certificates beside the system's
	UserAgent string
}

// SliceTarget is what a slice should weigh. Both zero: automatic.
type SliceTarget struct {
	Duration time.Duration
	Bytes    uint64
}

// Limits bound what a source emits, in bytes.
type Limits struct {
	FrameTarget int64 // a batch is sent when it holds this much: Sluice asks for 2 MiB
	FrameMax    int64 // and never holds more, unless one record does: 4 MiB
	RecordMax   int64 // a longer record goes to the dead letters: 16 MiB
}

// Budget asks the host for the vendor's budget, which every process and pipeline shares. Safe for concurrent use.
type Budget interface {
	// Acquire reserves. If the budget is spent it returns an error of kind Throttled whose RetryAfter says when to ask again.
	Acquire(ctx context.Context, r BudgetRequest) (reservation string, err error)
	// Settle says what a reservation really cost and what the vendor said. It must be called for each reservation; one that
	// isn't settled counts in full for one window.
	Settle(ctx context.Context, s BudgetSettlement) error
}

// BudgetRequest is one reservation. Key is BudgetKey(origin, key).
type BudgetRequest struct {
	Key         string
	Limit       Limit   // Namespace and what the settings allow
	Share       float64 // of the limit, in (0, 1]
	Requests    uint64
	Bytes       uint64
	Reservation string    // tops up this one's bytes
	VendorTime  time.Time // zero if unknown
}

// BudgetSettlement is what a reservation cost so far; Done with the last byte or the failure.
type BudgetSettlement struct {
	Reservation     string
	Requests, Bytes uint64
	Done            bool
	VendorTime      time.Time
	Vendor          VendorBudget
}

// VendorBudget is the vendor's own count. Nil and zero fields weren't said.
type VendorBudget struct {
	LimitRequests, RemainingRequests *uint64
	LimitBytes, RemainingBytes       *uint64
	Reset                            time.Duration // until the remaining figures start anew
	RetryAfter                       time.Duration // nothing may be asked before
}
