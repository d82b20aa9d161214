package config

import (
	"fmt"
	"math"
	"regexp"
	"sync"
	"time"
)

// valueType is what a key takes.
type valueType uint8

const (
	aName valueType = iota + 1
	aText
	aPath
	aSize
	aDuration
	aTime
	aCount
	aSlice
	aChoice
	aNameList
	aSection
	aSectionList
	aSettings
	aLabels
	aDurationList
	aListOrSection // a list, which is short for the group's first key
)

// key is one row of the table from which the decoder, the JSON Schema and the documentation are made.
type key struct {
	name     string
	typ      valueType
	required bool
	def      string // the default as a file would write it; "" if there is none or doc says it
	min, max int64  // bounds in bytes, nanoseconds or a count, both inclusive; not used by other types
	choices  []string
	doc      string
	keys     []key  // of a section
	later    string // not empty: known and refused in this version, with the reason
}

const (
	maxBytes   = int64(1) << 40
	day        = 24 * time.Hour
	laterFile  = "comes with a later version"
	noSettings = "the type's own settings"
)

// Counted repetitions take their time to compile, which not every start needs.
var (
	namePattern  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`) })
	labelPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_]{1,63}$`) })
)

// maxDurations is how many a list of durations has at most.
const maxDurations = 16

// maxLabel is the most bytes of a label's value: it becomes part of names of folders, topics and tables.
const maxLabel = 200

// fileKeys is the whole file. Its order is that of the documentation.
func fileKeys() []key {
	return []key{
		{name: "state", typ: aPath, def: "./state", doc: "folder of ledger, lock and budget; relative to this file; not on a network file system"},
		{name: "listen", typ: aChoice, def: `""`, choices: []string{""}, doc: "only empty in this version: an address for console and metrics " + laterFile},
		{name: "shutdown_timeout", typ: aDuration, def: "25s", max: int64(time.Hour), doc: "how long slices that move bytes may take to finish after the first SIGINT, SIGTERM or SIGHUP"},
		{name: "spool", later: "a folder for large intermediate files " + laterFile},
		{name: "plugins", later: "external plugins in a config come with a later version; `sluice plugin describe PATH` tries one"},
		{name: "pipelines", typ: aSectionList, required: true, doc: "what runs; each reads one source into one or more sinks", keys: []key{
			{name: "name", typ: aName, required: true, doc: "names the pipeline in commands, logs and the ledger; unique in the file"},
			{name: "source", typ: aSection, required: true, doc: "what is read", keys: []key{
				{name: "type", typ: aName, required: true, doc: "the source, as in `sluice plugin list`"},
				{name: "config", typ: aSettings, doc: noSettings + ": see `sluice plugin describe TYPE`"},
			}},
			{name: "streams", typ: aNameList, doc: "streams of the source; default: its main stream"},
			{name: "labels", typ: aLabels, doc: "names with a text each, such as `{tenant: acme}`, that sinks may put into the names of what they write to, as `{labels.tenant}`"},
			{name: "range", typ: aSection, required: true, doc: "the time that is asked for: `from`, with or without `to`, or `last`", keys: []key{
				{name: "from", typ: aTime, doc: "first millisecond that is asked for"},
				{name: "to", typ: aTime, doc: "first millisecond that is not; left out: up to now minus `lag`"},
				{name: "last", typ: aDuration, min: int64(time.Second), max: math.MaxInt64, doc: "instead of `from`: this long before now minus `lag`, not before 1970"},
			}},
			{name: "lag", typ: aDuration, def: "5m", max: int64(30 * day), doc: "nothing later than the clock minus this is asked for: the vendor may still be filling it"},
			{name: "clock", typ: aChoice, def: "vendor", choices: []string{"vendor", ClockHost}, doc: "whose now counts: the vendor's, or this machine's for a vendor that tells no time"},
			{name: "follow", typ: aSection, doc: "keep going: read what has closed since, again and again, until told to stop", keys: []key{
				{name: "every", typ: aDuration, def: "15m", min: int64(time.Second), max: int64(7 * day), doc: "how often new time is asked for; a wish: when the budget or the sinks are slower, windows grow"},
			}},
			{name: "flow", typ: aSection, doc: "bounds of memory and parallel work", keys: []key{
				{name: "window", typ: aSize, def: "64MiB", min: MinShare, max: maxBytes, doc: "bytes in flight; `window` / `parallel` must be at least 4MiB"},
				{name: "parallel", typ: aCount, def: "2", min: 1, max: 1024, doc: "slices at a time"},
				{name: "slice", typ: aSlice, def: "auto", doc: "what a slice should hold: `auto`, a duration from 1s to 1d, or a size from 1MB to 1TiB"},
			}},
			{name: "sinks", typ: aSectionList, required: true, doc: "where the records go; each sink gets all of them, or the streams that it names", keys: []key{
				{name: "name", typ: aName, doc: "names the sink in commands and logs; unique in the pipeline; default: the type"},
				{name: "type", typ: aName, required: true, doc: "the sink, as in `sluice plugin list`"},
				{name: "config", typ: aSettings, doc: noSettings},
				{name: "streams", typ: aNameList, doc: "those of the pipeline's streams that this sink gets; default: all of them"},
				{name: "on_failure", typ: aChoice, def: "block", choices: []string{OnFailureBlock, OnFailureDetach}, doc: "`block`: the pipeline waits for this sink; `detach`: the others go on without it and it catches up later"},
				{name: "detach_after", typ: aDuration, def: "30s", min: int64(time.Millisecond), max: int64(time.Hour), doc: "how long one call of a sink with `on_failure: detach` may take before the others go on without it"},
			}},
			{name: "retry", typ: aSection, doc: "what happens after a failure that may pass", keys: []key{
				{name: "attempts", typ: aCount, def: "8", min: 1, max: 1000, doc: "tries of a slice in one run; then it is quarantined until the next"},
				{name: "max_backoff", typ: aDuration, def: "2m", min: int64(time.Millisecond), max: int64(day), doc: "longest pause between two tries"},
			}},
			{name: "dead_letter", typ: aSection, doc: "records that can't be delivered", keys: []key{
				{name: "path", typ: aPath, doc: "folder; relative to this file; default: `./dead/` and the pipeline's name"},
				{name: "max", typ: aCount, def: "0", max: math.MaxInt64, doc: "more dead letters than this in one run make its exit code 1"},
				{name: "max_record", typ: aSize, def: "1GiB", min: 1 << 20, max: maxBytes, doc: "a longer record fails its slice"},
			}},
			{name: "recheck", typ: aListOrSection, doc: "reads committed ranges again for records that the vendor indexed late: a list of ages such as `[1h, 24h]`, or a group", keys: []key{
				{name: "after", typ: aDurationList, required: true, min: int64(time.Second), max: int64(366 * day), doc: "how long after its end, and `lag`, a range is read again; one that passed several is read once"},
				{name: "when", typ: aChoice, def: RecheckMoved, choices: []string{RecheckMoved, RecheckAlways}, doc: "`moved`: not if the vendor's own figure (usage, count) proves that nothing came since the last read; `always`: whatever it says"},
			}},
			{name: "priority", typ: aChoice, def: PriorityOldest, choices: []string{PriorityOldest, PriorityTail}, doc: "with `follow`: `oldest` reads in the order of time; `tail` reads what is newest before older gaps"},
			{name: "spool", typ: aSection, doc: "keeps each slice that was read on disk until every sink has it, so that a sink that fails costs no second download; without this key nothing is kept", keys: []key{
				{name: "path", typ: aPath, doc: "folder, of this pipeline alone; relative to this file; default: in `state`"},
				{name: "max", typ: aSize, def: "10GiB", min: 1 << 20, max: maxBytes, doc: "bytes of all that is kept; what doesn't fit is read without it"},
			}},
			{name: "transforms", later: "transforms come with a later version"},
		}},
	}
}

// expects says what a key takes, for messages: "a size such as 64MiB".
func (k *key) expects() string {
	switch k.typ {
	case aName:
		return "a name"
	case aText:
		return "text"
	case aPath:
		return "a path"
	case aSize:
		return "a size such as 64MiB, 500MB or a number of bytes"
	case aDuration:
		return "a duration such as 90s, 5m or 7d"
	case aTime:
		return "a time such as 2026-11-01 or 2026-11-01T06:00:00Z"
	case aCount:
		return "a whole number"
	case aSlice:
		return "auto, a duration such as 1h, or a size such as 500MB"
	case aChoice:
		return "one of " + quoteList(k.choices)
	case aNameList:
		return "a list of names"
	case aSection, aSettings:
		return "a group of keys"
	case aSectionList:
		return "a list (each entry begins with `- `)"
	case aLabels:
		return "a group of names with a text each"
	case aDurationList:
		return "a list of durations such as [1h, 24h]"
	case aListOrSection:
		return "a list of durations such as [1h, 24h], or a group of keys"
	}
	return fmt.Sprintf("type %d", k.typ)
}

// boundsText says the bounds of a key in its unit, for messages and the table; "" without any.
func (k *key) boundsText() string {
	show := func(n int64) string { return fmt.Sprint(n) }
	open := int64(math.MaxInt64)
	switch k.typ {
	case aSize:
		show = func(n int64) string { return Size(n).String() }
	case aDuration:
		show = func(n int64) string { return Duration(n).String() }
	case aDurationList:
		return fmt.Sprintf("1 to %d, each %s to %s, none twice", maxDurations, Duration(k.min), Duration(k.max))
	case aCount:
	case aName:
		return "`a-z 0-9 _ -`, at most 63"
	case aNameList:
		return "at least one"
	case aLabels:
		return "names of `a-z 0-9 _`, at most 63; texts of 1 to 200 bytes"
	case aSectionList:
		return "at least one"
	case aSlice:
		return "1s to 1d, or 1MB to 1TiB"
	case aTime:
		return "1970 to 9999"
	case aChoice:
		return quoteList(k.choices)
	default:
		return ""
	}
	if k.max == open {
		return "at least " + show(k.min)
	}
	return show(k.min) + " to " + show(k.max)
}
