package postgres

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

// version is the newest format of entries that this code reads, and the one it writes.
const version = 1

// Kinds of entries. A reader that meets another stops.
const (
	kindCommit = "commit"
	kindForget = "forget"
)

// entry is a row of sluice_commits as far as it is read again; FORMAT.md describes it.
type entry struct {
	day    time.Time
	number uint64
	kind   string
	commit commit // of kindCommit
	forget forget // of kindForget
}

// commit is the column entry of a commit.
type commit struct {
	V           int        `json:"v"`
	Slice       flow.Slice `json:"slice"`
	Table       string     `json:"table"` // empty: the slice has no rows
	Read        flow.Sum   `json:"read"`
	Delivered   flow.Sum   `json:"delivered"`
	Dead        flow.Sum   `json:"dead"`
	Filtered    flow.Sum   `json:"filtered"`
	DeadLetters string     `json:"dead_letters,omitempty"`
	Source      program    `json:"source"`
	Sluice      string     `json:"sluice"`
	At          time.Time  `json:"at"`
}

// program is the name and version of what read the slice; it only informs.
type program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// forget is the column entry of a forget.
type forget struct {
	V       int       `json:"v"`
	Entries []uint64  `json:"entries"`
	Sluice  string    `json:"sluice"`
	At      time.Time `json:"at"`
}

// parseEntry reads an entry strictly.
func parseEntry(day time.Time, number int64, kind, text string) (entry, error) {
	e := entry{day: day.UTC(), number: uint64(number), kind: kind}
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return e, err
	}
	if head.V != version {
		return e, fmt.Errorf("format %d isn't one that this program understands (%d): use a newer sluice", head.V, version)
	}
	var err error
	switch kind {
	case kindCommit:
		if err = strict(text, &e.commit); err == nil {
			err = e.commit.Slice.Validate()
		}
		if err == nil && !e.commit.Slice.Day().Equal(e.day) {
			err = errors.New("its slice lies in another day")
		}
	case kindForget:
		if err = strict(text, &e.forget); err == nil && len(e.forget.Entries) == 0 {
			err = errors.New("it forgets nothing")
		}
	default:
		err = fmt.Errorf("unknown kind %q: use a newer sluice", kind)
	}
	return e, err
}

func strict(text string, into any) error {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func (e entry) receipt(p flow.Partition) sinks.Receipt {
	if e.kind == kindForget {
		whole := flow.Slice{Partition: p, From: e.day, To: e.day.Add(24 * time.Hour)}
		return sinks.Receipt{Slice: whole, Entry: e.number, At: e.forget.At, Forgets: e.forget.Entries}
	}
	c := e.commit
	return sinks.Receipt{Slice: c.Slice, Entry: e.number, Delivered: c.Delivered, Dead: c.Dead, DeadLetters: c.DeadLetters, At: c.At}
}

// standing returns the commits of a day that no later entry forgets. entries are all of the day's, in their order.
func standing(entries []entry) ([]entry, error) {
	forgotten := map[uint64]bool{}
	for i, e := range entries {
		if want := uint64(i) + 1; e.number != want {
			return nil, fmt.Errorf("entry %d of %s is missing", want, e.day.Format(time.DateOnly))
		}
		for _, n := range e.forget.Entries {
			if n >= e.number || entries[n-1].kind != kindCommit || forgotten[n] {
				return nil, fmt.Errorf("entry %d of %s forgets %d, which is no commit that stands", e.number, e.day.Format(time.DateOnly), n)
			}
			forgotten[n] = true
		}
	}
	var out []entry
	for _, e := range entries {
		if e.kind == kindCommit && !forgotten[e.number] {
			out = append(out, e)
		}
	}
	return out, nil
}

// conflict says why a slice may not be committed beside the commits of its day that stand.
func conflict(s flow.Slice, commits []entry) error {
	var covered flow.Ranges
	var top *entry // the one of the highest revision that meets s
	for i := range commits {
		c := &commits[i]
		if !c.commit.Slice.Range().Meets(s.Range()) {
			continue
		}
		if c.commit.Slice.Rev == 0 {
			covered = append(covered, c.commit.Slice.Range())
		}
		if top == nil || c.commit.Slice.Rev > top.commit.Slice.Rev {
			top = c
		}
	}
	switch {
	case s.Rev == 0 && top == nil:
		return nil
	case s.Rev == 0 || top != nil && s.Rev <= top.commit.Slice.Rev:
		return &sinks.OverlapError{Slice: s, By: top.commit.Slice, Entry: top.number}
	case !flow.NewRanges(covered...).Covers(s.Range()):
		return fmt.Errorf("slice %s: a revision adds to covered time only, and part of its range isn't covered: %w", s, sinks.ErrOverlap)
	case s.Rev != top.commit.Slice.Rev+1:
		return fmt.Errorf("slice %s: the next revision of its range is %d: %w", s, top.commit.Slice.Rev+1, sinks.ErrOverlap)
	}
	return nil
}
