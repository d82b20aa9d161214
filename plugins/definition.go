package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/proto/wire"
)

// sourceName is what a source may be called: it stands in configs, folder names and executables.
var sourceName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Validate reports everything that makes a definition unfit to be served.
func (d Definition) Validate() error {
	var errs []error
	if !sourceName.MatchString(d.Name) {
		errs = append(errs, fmt.Errorf("name %q: want lower-case words joined by hyphens", d.Name))
	}
	if d.Version == "" {
		errs = append(errs, errors.New("no version"))
	}
	if d.Open == nil {
		errs = append(errs, errors.New("no Open"))
	}
	var settings map[string]any
	if err := json.Unmarshal(d.Config, &settings); err != nil {
		errs = append(errs, fmt.Errorf("config schema: want a JSON object: %w", err))
	}
	if len(d.Streams) == 0 {
		errs = append(errs, errors.New("no streams"))
	}
	mains := 0
	seen := map[string]bool{}
	for _, s := range d.Streams {
		if seen[s.Name] {
			errs = append(errs, fmt.Errorf("stream %q: named twice", s.Name))
		}
		seen[s.Name] = true
		if s.Main {
			mains++
		}
		if err := s.validate(); err != nil {
			errs = append(errs, fmt.Errorf("stream %q: %w", s.Name, err))
		}
	}
	if len(d.Streams) > 0 && mains != 1 {
		errs = append(errs, fmt.Errorf("%d main streams, want one", mains))
	}
	if len(errs) > 0 {
		return fmt.Errorf("source definition %q: %w", d.Name, errors.Join(errs...))
	}
	return nil
}

func (s Stream) validate() error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("no name"))
	}
	if s.Kind != Time && s.Kind != Snapshot {
		errs = append(errs, fmt.Errorf("kind %d: want Time or Snapshot", s.Kind))
	}
	if g := s.Granularity; g < 0 || g%time.Millisecond != 0 || g > 0 && day%g != 0 {
		errs = append(errs, fmt.Errorf("granularity %s: want whole milliseconds that divide a day", g))
	}
	if s.Buffer < 0 {
		errs = append(errs, fmt.Errorf("buffer %d: want a number of bytes", s.Buffer))
	}
	if s.Schema == nil {
		return errors.Join(append(errs, errors.New("no schema"))...)
	}
	if _, err := wire.EncodeSchema(s.Schema); err != nil {
		errs = append(errs, err)
	}
	for _, c := range s.DigestColumns {
		if !s.Schema.HasField(c) {
			errs = append(errs, fmt.Errorf("digest column %q isn't in the schema", c))
		}
	}
	if _, _, isLog := flow.BodyColumns(s.Schema); !isLog && len(s.DigestColumns) == 0 {
		errs = append(errs, errors.New("no digest columns, and no text body to hash instead"))
	}
	return errors.Join(errs...)
}

// digested reports whether the digest hashes a column.
func (s Stream) digested(column string) bool {
	if len(s.DigestColumns) > 0 {
		return slices.Contains(s.DigestColumns, column)
	}
	return column == flow.ColBody
}

// sum counts and hashes the records of a batch.
func (s Stream) sum(rec arrow.Record) (flow.Sum, error) {
	if len(s.DigestColumns) > 0 {
		return flow.SumColumns(rec, s.DigestColumns)
	}
	return flow.SumRecord(rec)
}

// withDefaults fills the limits that the host left out.
func (l Limits) withDefaults() Limits {
	if l.FrameTarget <= 0 {
		l.FrameTarget = 1 << 20
	}
	if l.FrameMax <= 0 {
		l.FrameMax = 4 << 20
	}
	l.FrameTarget = min(l.FrameTarget, l.FrameMax)
	if l.RecordMax <= 0 {
		l.RecordMax = 16 << 20
	}
	return l
}
