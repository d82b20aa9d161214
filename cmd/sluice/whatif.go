package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-io/sluice/host/config"
)

// alternative is a pipeline's flow as it could be.
type alternative struct {
	parallel int           // 0: as it is
	slice    *config.Slice // nil: as it is
	text     string
}

// alternatives are those of the flags, in their order.
func (f planFlags) alternatives() ([]alternative, error) {
	var out []alternative
	for _, text := range f.whatIf {
		one, err := parseAlternative(text)
		if err != nil {
			return nil, fmt.Errorf("--what-if %s: %w", text, err)
		}
		out = append(out, one)
	}
	parallel, slice := f.parallel, f.slice
	if len(parallel) == 0 && len(slice) == 0 {
		return out, nil
	}
	if len(parallel) == 0 {
		parallel = []string{""}
	}
	if len(slice) == 0 {
		slice = []string{""}
	}
	for _, s := range slice {
		for _, p := range parallel {
			var words []string
			if p != "" {
				words = append(words, "parallel="+p)
			}
			if s != "" {
				words = append(words, "slice="+s)
			}
			one, err := parseAlternative(strings.Join(words, ","))
			if err != nil {
				return nil, fmt.Errorf("--what-if-parallel, --what-if-slice: %w", err)
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func parseAlternative(text string) (alternative, error) {
	out := alternative{text: text}
	for _, word := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(word), "=")
		switch {
		case !ok:
			return out, fmt.Errorf("%q isn't a setting: write parallel=4 or slice=1h", word)
		case name == "parallel":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 1024 {
				return out, fmt.Errorf("parallel is %q, want 1 to 1024", value)
			}
			out.parallel = n
		case name == "slice":
			s, err := config.ParseSlice(value)
			if err != nil {
				return out, err
			}
			out.slice = &s
		default:
			return out, fmt.Errorf("unknown setting %q: parallel and slice can be tried", name)
		}
	}
	return out, nil
}

// shownAlternative is what an alternative comes to, by itself.
type shownAlternative struct {
	alternative
	*foreseen
	outlook outlook
}

// alternatives plans a pipeline as it could be. Only another size of slices needs the source again: it cuts them.
func (l *planner) alternatives(ctx context.Context, c *config.Pipeline, as *foreseen, all []alternative) ([]shownAlternative, error) {
	var out []shownAlternative
	for _, a := range all {
		one := *as
		changed := *c
		if a.parallel > 0 {
			one.parallel, changed.Flow.Parallel = a.parallel, a.parallel
		}
		if share := changed.Flow.Window / int64(changed.Flow.Parallel); share < config.MinShare {
			return nil, usageError(fmt.Errorf("what if %s: `flow.window` leaves %s for a slice, the least is %s", a.text, size(uint64(share)), size(config.MinShare)))
		}
		if a.slice != nil {
			changed.Flow.Slice = *a.slice
			planned, err := l.pipeline(ctx, &changed)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("what if %s", a.text), err)
			}
			one = *planned
		}
		out = append(out, shownAlternative{a, &one, lookAt([]*foreseen{&one})})
	}
	return out, nil
}
