package commitlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// version is the newest format of entries that this code reads, and the one it writes.
const version = 1

// Kinds of entries. A reader that meets another stops.
const (
	KindCommit = "commit"
	KindForget = "forget"
	KindSweep  = "sweep"
)

// Entry is one numbered file of the log, of one of the kinds. FORMAT.md describes its JSON.
type Entry struct {
	Kind   string
	Commit *Commit // of KindCommit
	Forget *Forget // of KindForget
	Sweep  *Sweep  // of KindSweep
}

// Commit says that a slice is covered, and by which parts.
type Commit struct {
	V           int          `json:"v"`
	Kind        string       `json:"kind"`
	Slice       flow.Slice   `json:"slice"`
	Parts       []sinks.Part `json:"parts"`
	Read        flow.Sum     `json:"read"`
	Delivered   flow.Sum     `json:"delivered"`
	Dead        flow.Sum     `json:"dead"`
	Filtered    flow.Sum     `json:"filtered"`
	DeadLetters string       `json:"dead_letters,omitempty"`
	Nonce       string       `json:"nonce"` // names the staging folder that held the parts
	Source      Program      `json:"source"`
	Sluice      string       `json:"sluice"`
	At          time.Time    `json:"at"`
}

// Program is the name and version of what read the slice; it only informs.
type Program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Forget withdraws earlier entries of its day: what they covered is a gap again.
type Forget struct {
	V         int            `json:"v"`
	Kind      string         `json:"kind"`
	Partition flow.Partition `json:"partition"`
	Day       string         `json:"day"`
	Entries   []uint64       `json:"entries"`
	Nonce     string         `json:"nonce"`
	Sluice    string         `json:"sluice"`
	At        time.Time      `json:"at"`
}

// Sweep ends an attempt at a slice of its day on an object store: no commit after it may have the attempt's nonce, so that its
// parts can be deleted. It covers nothing.
type Sweep struct {
	V         int            `json:"v"`
	Kind      string         `json:"kind"`
	Partition flow.Partition `json:"partition"`
	Day       string         `json:"day"`
	Swept     string         `json:"swept"` // the nonce of the attempt
	Nonce     string         `json:"nonce"` // of this entry
	Sluice    string         `json:"sluice"`
	At        time.Time      `json:"at"`
}

// ParseEntry reads an entry strictly: an unknown kind, a newer version, an unknown field, a part of a file, or values
// that don't fit together are errors.
func ParseEntry(b []byte) (Entry, error) {
	var head struct {
		V    int    `json:"v"`
		Kind string `json:"kind"`
	}
	if len(b) == 0 {
		return Entry{}, errors.New("the file is empty")
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Entry{}, err
	}
	switch {
	case head.V > version:
		return Entry{}, fmt.Errorf("format %d is newer than this program understands (%d): use a newer sluice", head.V, version)
	case head.V < 1:
		return Entry{}, errors.New("it has no format version")
	}
	e := Entry{Kind: head.Kind}
	var err error
	switch head.Kind {
	case KindCommit:
		e.Commit = new(Commit)
		if err = strict(b, e.Commit); err == nil {
			err = e.Commit.validate()
		}
	case KindForget:
		e.Forget = new(Forget)
		if err = strict(b, e.Forget); err == nil {
			err = e.Forget.validate()
		}
	case KindSweep:
		e.Sweep = new(Sweep)
		if err = strict(b, e.Sweep); err == nil {
			err = e.Sweep.validate()
		}
	default:
		err = fmt.Errorf("unknown kind %q: use a newer sluice", head.Kind)
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
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

// newCommit returns the entry that commits a slice. sluice is the version where the account has none.
func newCommit(s flow.Slice, n nonce, parts []sinks.Part, a sinks.Account, sluice string, now time.Time) *Commit {
	c := &Commit{
		V: version, Kind: KindCommit, Slice: s, Parts: parts, Read: a.Read, Delivered: a.Delivered, Dead: a.Dead, Filtered: a.Filtered,
		DeadLetters: a.DeadLetters, Nonce: n.String(), Source: Program{Name: a.Source.Name, Version: a.Source.Version},
		Sluice: sluice, At: now.UTC().Truncate(time.Millisecond),
	}
	if c.Parts == nil {
		c.Parts = []sinks.Part{}
	}
	if a.Source.Sluice != "" {
		c.Sluice = a.Source.Sluice
	}
	return c
}

func (c *Commit) validate() error {
	if err := c.Slice.Validate(); err != nil {
		return err
	}
	if _, err := parseNonce(c.Nonce); err != nil {
		return err
	}
	if !c.account().Balanced() {
		return errors.New("read isn't the sum of delivered, dead and filtered")
	}
	return checkParts(c.Parts, c.Delivered.Rows)
}

func (c *Commit) account() sinks.Account {
	return sinks.Account{Read: c.Read, Delivered: c.Delivered, Dead: c.Dead, Filtered: c.Filtered}
}

func checkParts(parts []sinks.Part, want uint64) error {
	var rows uint64
	seen := make(map[string]bool, len(parts))
	for _, p := range parts {
		if err := checkPartPath(p.Path); err != nil {
			return err
		}
		if b, err := hex.DecodeString(p.SHA256); err != nil || len(b) != 32 {
			return fmt.Errorf("part %s: %q isn't a SHA-256", p.Path, p.SHA256)
		}
		if p.Bytes < 0 || seen[p.Path] {
			return fmt.Errorf("part %s: negative size or named twice", p.Path)
		}
		seen[p.Path] = true
		rows += p.Rows
	}
	if rows != want {
		return fmt.Errorf("the parts hold %d rows, delivered are %d", rows, want)
	}
	return nil
}

func (f *Forget) validate() error {
	if _, err := parseNonce(f.Nonce); err != nil {
		return err
	}
	if _, err := parseDay(f.Day); err != nil {
		return fmt.Errorf("day %q isn't a date", f.Day)
	}
	if len(f.Entries) == 0 {
		return errors.New("it forgets nothing")
	}
	return nil
}

func (s *Sweep) validate() error {
	for _, n := range []string{s.Swept, s.Nonce} {
		if _, err := parseNonce(n); err != nil {
			return err
		}
	}
	if _, err := parseDay(s.Day); err != nil {
		return fmt.Errorf("day %q isn't a date", s.Day)
	}
	return nil
}

// nonce of an entry that ParseEntry or this package made.
func (e Entry) nonce() nonce {
	var text string
	switch {
	case e.Commit != nil:
		text = e.Commit.Nonce
	case e.Forget != nil:
		text = e.Forget.Nonce
	default:
		text = e.Sweep.Nonce
	}
	n, _ := parseNonce(text)
	return n
}

func (e Entry) partition() (flow.Partition, string) {
	switch {
	case e.Commit != nil:
		return e.Commit.Slice.Partition, dayName(e.Commit.Slice.Day())
	case e.Forget != nil:
		return e.Forget.Partition, e.Forget.Day
	}
	return e.Sweep.Partition, e.Sweep.Day
}

// encode returns the entry as it lies on disk.
func (e Entry) encode() ([]byte, error) {
	var v any
	switch {
	case e.Commit != nil:
		v = e.Commit
	case e.Forget != nil:
		v = e.Forget
	default:
		v = e.Sweep
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// receipt of a commit or forget entry with its number. A sweep has none: it is the log's own matter.
func (e Entry) receipt(number uint64) sinks.Receipt {
	if f := e.Forget; f != nil {
		day, _ := parseDay(f.Day)
		whole := flow.Slice{Partition: f.Partition, From: day, To: day.Add(24 * time.Hour)}
		return sinks.Receipt{Slice: whole, Entry: number, At: f.At, Forgets: f.Entries}
	}
	c := e.Commit
	return sinks.Receipt{
		Slice: c.Slice, Entry: number, Parts: c.Parts, Delivered: c.Delivered, Dead: c.Dead, DeadLetters: c.DeadLetters, At: c.At,
	}
}
