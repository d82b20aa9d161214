package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/supervisor"
	"github.com/sluice-io/sluice/plugins/logentries"
	"github.com/sluice-io/sluice/plugins/rapid7download"
	"github.com/sluice-io/sluice/plugins/rapid7usage"
)

func (a *app) discoverCommand() *cobra.Command {
	var kinds []string
	c := &cobra.Command{
		Use:   "discover [PIPELINE]",
		Short: "List what a pipeline's credentials can see",
		Long: "discover asks the vendor which logs, log sets, projects and fields the pipeline's credentials see, with their IDs. The logs\n" +
			"that the file names don't matter, so they may still be wrong.\n" +
			"It costs a few requests of the vendor's budget, so it needs the state: not while `sluice run` holds it.",
		Example: "  sluice discover\n  sluice discover prod --kind log --json",
		Args:    atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			return interruptible(c, func(ctx context.Context) error { return a.discover(ctx, args, kinds) })
		},
	}
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds: log, logset, project or field")
	return c
}

// atMostOne refuses more than one pipeline.
func atMostOne(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError(fmt.Errorf("`%s` takes one pipeline, not %d; see `%s --help`", c.CommandPath(), len(args), c.CommandPath()))
	}
	return nil
}

func (a *app) discover(ctx context.Context, names, kinds []string) error {
	known := []string{"log", "logset", "project", "field"}
	for _, k := range kinds {
		if !slices.Contains(known, k) {
			return usageError(fmt.Errorf("--kind %q: want one of %s", k, strings.Join(known, ", ")))
		}
	}
	reg, err := discoverRegistry()
	if err != nil {
		return failedError(err)
	}
	c, err := a.loadBy(reg)
	if err != nil {
		return err
	}
	p, err := chooseOne(c, names)
	if err != nil {
		return usageError(err)
	}
	h, err := a.openHost(ctx, c)
	if err != nil {
		return &exitError{codeOf(err), err}
	}
	defer h.Close()
	var found []supervisor.Found
	err = h.discover(ctx, p, func(f supervisor.Found) error {
		if len(kinds) == 0 || slices.Contains(kinds, f.Kind) {
			found = append(found, f)
		}
		return nil
	})
	if err != nil {
		err = asUsage(fmt.Errorf("%s: %w", p.Name, err))
		return &exitError{codeOf(err), err}
	}
	return a.printFound(p.Name, found)
}

// discover asks a pipeline's vendor what its credentials see.
func (h *host) discover(ctx context.Context, c *config.Pipeline, yield func(supervisor.Found) error) (err error) {
	settings, secrets, err := c.Source.Config.Resolve(config.Environment{})
	if err != nil {
		return asUsage(err)
	}
	source, settings, err := discoverer(c.Source.Type, settings)
	if err != nil {
		return err
	}
	p, err := h.supervise(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	plugin, _, err := h.startWith(ctx, p, source, settings, secrets)
	if err != nil {
		return asUsage(err)
	}
	p.first = plugin
	err = plugin.Discover(ctx, yield)
	if errors.Is(err, supervisor.ErrNotSupported) {
		return usageError(fmt.Errorf("the source %s can't list what its credentials see", c.Source.Type))
	}
	return err
}

// discoverer returns which source lists what the credentials of a source see, and its settings. All sources of Rapid7 Log
// Search share an account, whose logs logentries lists; it is asked without the logs that are named, so that wrong ones don't matter.
func discoverer(source string, settings json.RawMessage) (string, json.RawMessage, error) {
	switch source {
	case rapid7download.Name, rapid7usage.Name, logentries.Name:
	default:
		return source, settings, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(settings, &all); err != nil {
		return "", nil, fmt.Errorf("settings of %s: %w", source, err)
	}
	maps.DeleteFunc(all, func(key string, _ json.RawMessage) bool {
		return !slices.Contains([]string{"region", "base_url", "api_key", "http", "budget"}, key)
	})
	own, err := json.Marshal(all)
	return logentries.Name, own, err
}

// discoverRegistry is the registry for files whose logs may be wrong still, or missing: discover is how to find the right ones.
func discoverRegistry() (config.Registry, error) {
	reg := registry()
	for name, t := range reg.Sources {
		var schema map[string]any
		if err := json.Unmarshal(t.Schema, &schema); err != nil {
			return reg, fmt.Errorf("schema of %s: %w", name, err)
		}
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, key := range []string{"logs", "logsets"} {
			if _, ok := properties[key]; ok {
				properties[key] = true
				required = slices.DeleteFunc(required, func(v any) bool { return v == key })
			}
		}
		schema["required"] = required
		var err error
		if t.Schema, err = json.Marshal(schema); err != nil {
			return reg, fmt.Errorf("schema of %s: %w", name, err)
		}
		reg.Sources[name] = t
	}
	return reg, nil
}

// foundLine is a line of `discover --json`.
type foundLine struct {
	V          int               `json:"v"`
	TS         string            `json:"ts"`
	Event      string            `json:"event"` // "found"
	Pipeline   string            `json:"pipeline"`
	Kind       string            `json:"kind"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func (a *app) printFound(pipeline string, found []supervisor.Found) error {
	if a.json {
		for _, f := range found {
			a.printJSON(foundLine{1, stamp(time.Now()), "found", pipeline, f.Kind, f.ID, f.Name, f.Attributes})
		}
		return nil
	}
	if len(found) == 0 {
		a.say("nothing was found: the credentials are valid and see nothing of that kind")
		return nil
	}
	rows := [][]string{{"KIND", "ID", "NAME", "WHAT"}}
	for _, f := range found {
		var more []string
		for _, key := range slices.Sorted(maps.Keys(f.Attributes)) {
			more = append(more, key+"="+f.Attributes[key])
		}
		rows = append(rows, []string{f.Kind, printable(f.ID), printable(f.Name), printable(strings.Join(more, " "))})
	}
	return a.printTable(rows)
}

// printable keeps what a vendor calls things from steering a terminal or a table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
