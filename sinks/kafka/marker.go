package kafka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// version is the format of the markers of owners and schemas, commitVersion the one of commits that this code writes, and the newest of
// any that it reads. FORMAT.md describes them.
const (
	version       = 1
	commitVersion = 2
)

// Kinds of markers. A reader that meets another of its own sink stops.
const (
	kindCommit = "commit"
	kindForget = "forget"
	kindOwner  = "owner"
	kindSchema = "schema"
)

// markerKey is the key of a message in the marker topic. No two commits have the same, so compaction takes none of them.
type markerKey struct {
	Kind      string            `json:"kind"`
	Sink      string            `json:"sink,omitempty"`
	Selection *flow.SelectionID `json:"selection,omitempty"`
	Stream    string            `json:"stream,omitempty"`
	Partition string            `json:"partition,omitempty"`
	Day       string            `json:"day,omitempty"`
	Entry     uint64            `json:"entry,omitempty"`
	Schema    string            `json:"schema,omitempty"`
}

const dayLayout = "2006-01-02"

func commitKey(sink string, s flow.Slice, entry uint64) markerKey {
	selection := s.Selection
	return markerKey{
		Kind: kindCommit, Sink: sink, Selection: &selection, Stream: s.Stream, Partition: s.Key, Day: s.Day().Format(dayLayout), Entry: entry,
	}
}

// commit is the value of a marker that covers a slice.
type commit struct {
	V           int        `json:"v"`
	Kind        string     `json:"kind"`
	Entry       uint64     `json:"entry"`
	Slice       flow.Slice `json:"slice"`
	Topic       string     `json:"topic,omitempty"` // left out without records
	Messages    uint64     `json:"messages"`
	Producer    int64      `json:"producer,omitempty"` // since version 2, with messages
	Spans       []span     `json:"spans,omitempty"`    // likewise
	Schema      string     `json:"schema,omitempty"`
	Read        flow.Sum   `json:"read"`
	Delivered   flow.Sum   `json:"delivered"`
	Dead        flow.Sum   `json:"dead"`
	Filtered    flow.Sum   `json:"filtered"`
	DeadLetters string     `json:"dead_letters,omitempty"`
	Source      program    `json:"source"`
	Sluice      string     `json:"sluice"`
	At          time.Time  `json:"at"`
}

// span is where the messages of a slice lie in one partition of the topic: all that its producer wrote from First to Last. Those of other
// producers may lie between.
type span struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	Last      int64 `json:"last"`
}

// program is what read a slice; it only informs.
type program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// owner is the value of the marker that says whose a target is.
type owner struct {
	V        int                    `json:"v"`
	Kind     string                 `json:"kind"`
	Cluster  string                 `json:"cluster"`
	Topic    string                 `json:"topic"` // the template, with what is the same for the whole sink filled in
	Value    string                 `json:"value"`
	Markers  int32                  `json:"marker_partitions"` // markers are spread over so many partitions, even if there are more since
	Streams  map[string]ownedStream `json:"streams"`
	Pipeline string                 `json:"pipeline"` // informs only, as do the rest
	Sink     string                 `json:"sink"`
	At       time.Time              `json:"at"`
}

// ownedStream is what must stay the same of a stream.
type ownedStream struct {
	Selection flow.SelectionID `json:"selection"`
}

// avroSchema is the value of the marker that holds a schema.
type avroSchema struct {
	V      int             `json:"v"`
	Kind   string          `json:"kind"`
	Schema json.RawMessage `json:"schema"`
}

// encodeJSON is one line.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func strict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// parseKey reads a key. ok is false for what no Sluice writes: the topic may be shared by strangers.
func parseKey(b []byte) (k markerKey, ok bool) {
	if strict(b, &k) != nil {
		// A newer Sluice may have more fields; then the kind and the sink tell whether it concerns us.
		k = markerKey{}
		if json.Unmarshal(b, &k) != nil || k.Kind == "" {
			return markerKey{}, false
		}
	}
	return k, k.Kind != ""
}

// checkVersion refuses a value that a newer program wrote.
func checkVersion(value []byte) error {
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(value, &head); err != nil {
		return err
	}
	switch {
	case head.V > commitVersion:
		return fmt.Errorf("format %d is newer than this program understands (%d): use a newer sluice", head.V, commitVersion)
	case head.V < 1:
		return errors.New("it has no format version")
	}
	return nil
}

// parseCommit reads the value of a commit's marker strictly and compares it with its key.
func parseCommit(k markerKey, value []byte) (commit, error) {
	var c commit
	if err := checkVersion(value); err != nil {
		return c, err
	}
	if err := strict(value, &c); err != nil {
		return c, err
	}
	if err := c.Slice.Validate(); err != nil {
		return c, err
	}
	want, got := commitKey(k.Sink, c.Slice, c.Entry), k
	if got.Selection == nil || *got.Selection != *want.Selection {
		return c, errors.New("its key has another selection")
	}
	got.Selection, want.Selection = nil, nil
	if got != want || c.Kind != kindCommit || c.Entry == 0 {
		return c, errors.New("its key doesn't fit")
	}
	if a := (sinks.Account{Read: c.Read, Delivered: c.Delivered, Dead: c.Dead, Filtered: c.Filtered}); !a.Balanced() {
		return c, errors.New("read isn't the sum of delivered, dead and filtered")
	}
	return c, nil
}

func parseOwner(value []byte) (owner, error) {
	var o owner
	if err := checkVersion(value); err != nil {
		return o, err
	}
	if err := strict(value, &o); err != nil {
		return o, err
	}
	if o.Kind != kindOwner || o.Markers < 1 {
		return o, errors.New("it isn't the marker of an owner")
	}
	return o, nil
}
