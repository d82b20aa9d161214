// Package config reads the file that says what runs: which sources, ranges and sinks, with which bounds.
//
//	path, err := config.Find(flag, os.Getenv, cwd)
//	c, err := config.Load(path, registry)     // every problem at once, each with line and column
//	settings, secrets, err := c.Pipelines[0].Source.Config.Resolve(config.Environment{})
//
// Load reads no secret: placeholders such as ${env:X} stay in the settings until Resolve, which is called at each start of
// a plugin. The package knows no source and no sink: their settings are checked by the JSON Schemas of a Registry. One
// table of keys (keys.go) makes the decoder, the JSON Schema of the file and the table in docs/config.md.
package config

import (
	"encoding/json"
	"slices"
	"time"
)

// Config is a checked file. Its paths are absolute; relative ones were relative to the file. It is not changed after Load
// and safe for concurrent reading.
type Config struct {
	Path            string        // of the file, absolute
	Dir             string        // the file's folder: what relative paths in settings are relative to
	State           string        // folder of ledger, lock and budget
	Listen          string        // empty in this version
	ShutdownTimeout time.Duration // how long slices that move bytes may take to finish after the first signal
	Pipelines       []Pipeline    // at least one, names unique
	Warnings        []Problem     // what is allowed but unwise, in the file's order
}

// Pipeline returns the pipeline of that name, or nil.
func (c *Config) Pipeline(name string) *Pipeline {
	for i := range c.Pipelines {
		if c.Pipelines[i].Name == name {
			return &c.Pipelines[i]
		}
	}
	return nil
}

// Pipeline is one source, a range of time and the sinks that get it.
type Pipeline struct {
	Name       string
	Source     Source
	Streams    []string // never empty: the source's main streams if the file names none
	Labels     map[string]string
	Range      Range
	Lag        time.Duration // nothing later than the clock minus this is asked for
	Clock      string        // "" is the vendor's, ClockHost this machine's
	Follow     time.Duration // how often new time is asked for; 0: the run ends when all is covered
	Priority   string        // PriorityOldest or PriorityTail
	Flow       Flow
	Sinks      []Sink // at least one, names unique in the pipeline
	Retry      Retry
	DeadLetter DeadLetter
	Spool      *Spool // nil: nothing is kept
	Recheck    Recheck
	Position   Position // of the pipeline in the file
}

// What of a gap goes first in a run that follows.
const (
	PriorityOldest = "oldest"
	PriorityTail   = "tail" // what has just closed, before older gaps
)

// ClockHost is the Clock of a pipeline whose vendor tells no time.
const ClockHost = "host"

// Source is what a pipeline reads.
type Source struct {
	Type    string   // a key of Registry.Sources
	Account string   // the settings' account as written, "" without one
	Config  Settings // includes account
}

// Range is the asked time: either From (with To or without) or Last is set. Times are UTC in whole milliseconds.
type Range struct {
	From time.Time     // zero with Last
	To   *time.Time    // nil: up to the clock minus lag
	Last time.Duration // before the clock minus lag; 0 with From
}

// Flow bounds what a pipeline holds and does at once.
type Flow struct {
	Window   int64 // bytes in flight of all slices together
	Parallel int   // slices at a time; each has Window/Parallel bytes, at least MinShare
	Slice    Slice
}

// MinShare is the least Window/Parallel in bytes: a frame of the largest size must fit.
const MinShare = 4 << 20

// Slice is how much a slice should hold: exactly one field is set.
type Slice struct {
	Auto     bool
	Duration time.Duration // at most a day
	Bytes    int64
}

// Sink is one target of a pipeline.
type Sink struct {
	Name      string // the type if the file gives none
	Type      string // a key of Registry.Sinks
	Config    Settings
	Streams   []string // of the pipeline's; never empty
	OnFailure string   // OnFailureBlock or OnFailureDetach
	// DetachAfter is how long one call of a sink that may be left behind may take.
	DetachAfter time.Duration
	Position    Position // of the sink in the file
}

// What the others of a pipeline do when a sink fails.
const (
	OnFailureBlock  = "block"  // wait for it
	OnFailureDetach = "detach" // go on; it catches up
)

// Takes reports whether a sink is given a stream.
func (s *Sink) Takes(stream string) bool { return slices.Contains(s.Streams, stream) }

// Retry bounds how often a slice is tried in one run, and the longest pause between two tries.
type Retry struct {
	Attempts   int
	MaxBackoff time.Duration
}

// DeadLetter says where records go that can't be delivered, and how many are too many.
type DeadLetter struct {
	Path      string // absolute
	Max       int64  // more dead letters than this make a run fail
	MaxRecord int64  // bytes; a longer record fails its slice
}

// Spool says where slices are kept until every sink has them, and how much at most.
type Spool struct {
	Path string // absolute
	Max  int64  // bytes
}

// Recheck says when committed ranges are read again for records that the vendor indexed late.
type Recheck struct {
	After []time.Duration // ages, ascending; empty: never
	When  string          // RecheckMoved or RecheckAlways
}

// When a range that is old enough is read again.
const (
	RecheckMoved  = "moved"  // unless the vendor's own figure proves that nothing came
	RecheckAlways = "always" // whatever it says
)

// Position is a place in the file; both count from 1, Column in characters. The zero Position is no place.
type Position struct{ Line, Column int }

// Registry says what there is to configure. Its maps are only read.
type Registry struct {
	Sources map[string]SourceType
	Sinks   map[string]SinkType
}

// SourceType is a type of source.
type SourceType struct {
	Schema  []byte   // JSON Schema (2020-12) of source.config
	Streams []string // all streams
	Main    []string // those that are read when a pipeline names none
}

// SinkType is a type of sink.
type SinkType struct {
	Schema []byte // JSON Schema (2020-12) of the sink's config
}

// Settings are the own settings of a source or sink: one JSON object, valid by the type's schema, in which placeholders
// are still what the user wrote. A literal secret may be in it: print settings only through String, which shows none.
type Settings struct {
	JSON      json.RawMessage
	Positions map[string]Position // of each value, by its path below the settings: "logs[0]", "budget.window"

	file   string // for messages of Resolve
	dir    string
	path   string // "pipelines[0].source.config"
	tree   *node
	schema *settingsSchema
}

// Position returns the place of a value by its path below the settings, or of the closest value around it.
func (s Settings) Position(path string) Position {
	for {
		if p, ok := s.Positions[path]; ok || path == "" {
			return p
		}
		path = parentPath(path)
	}
}

// String hides the settings, so that no log or error shows a literal secret by accident.
func (s Settings) String() string { return "settings of " + s.path }

// GoString is String.
func (s Settings) GoString() string { return s.String() }
