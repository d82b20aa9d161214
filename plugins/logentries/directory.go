package logentries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
	"github.com/sluice-io/sluice/proto/fault"
)

// directory is what the vendor calls its logs, log sets and labels, remembered for a while. Safe for concurrent use.
type directory struct {
	client *client
	busy   chan struct{} // holds one token: whoever asks the vendor has it

	read time.Time // when logs and sets were read; zero: never
	logs []listedLog
	sets []listedSet

	mu       sync.Mutex
	labels   map[string]string    // names by ID; an ID without a name stands for itself
	unnamed  map[string]time.Time // labels that keep their ID until then: their names couldn't be had
	nameless time.Time            // until then logs have no names: they couldn't be had
}

const (
	fresh       = 15 * time.Minute // how long names are believed
	namesAgain  = 10 * time.Minute // before names that couldn't be had are asked for again
	nameTimeout = 30 * time.Second // how long a log waits for its name
)

type listedLog struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	SourceType string       `json:"source_type"`
	Retention  string       `json:"retention_period"`
	Sets       []listedName `json:"logsets_info"`
}

type listedSet struct {
	ID   string       `json:"id"`
	Name string       `json:"name"`
	Logs []listedName `json:"logs_info"`
}

type listedName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func newDirectory(c *client) *directory {
	d := &directory{client: c, busy: make(chan struct{}, 1), labels: map[string]string{}, unnamed: map[string]time.Time{}}
	d.busy <- struct{}{}
	return d
}

// list returns the logs, and the log sets too if they are wanted.
func (d *directory) list(ctx context.Context, sets bool) ([]listedLog, []listedSet, error) {
	select {
	case <-d.busy:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	defer func() { d.busy <- struct{}{} }()
	if d.read.IsZero() || d.client.now().Sub(d.read) > fresh {
		logs, err := listOf[listedLog](ctx, d.client, "list logs", "/management/logs", "logs")
		if err != nil {
			return nil, nil, err
		}
		d.logs, d.sets, d.read = logs, nil, d.client.now()
		d.setNameless(time.Time{})
	}
	if sets && d.sets == nil {
		sets, err := listOf[listedSet](ctx, d.client, "list log sets", "/management/logsets", "logsets")
		if err != nil {
			return nil, nil, err
		}
		d.sets = sets
	}
	return d.logs, d.sets, nil
}

// listOf asks for a list, which isn't nil without an error.
func listOf[T any](ctx context.Context, c *client, op, path, key string) ([]T, error) {
	answer, err := c.get(ctx, op, path, c.management, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	list := []T{}
	err = rapid7.Each(answer, key, func(element json.RawMessage) error {
		var one T
		if json.Unmarshal(element, &one) != nil {
			return rapid7.ErrNoList
		}
		list = append(list, one)
		return nil
	})
	if errors.Is(err, rapid7.ErrNoList) {
		err = fault.New(fault.Corrupt, op, "check base_url", err)
	}
	return list, err
}

// chosen resolves the settings' logs and log sets to log IDs, each once, in the settings' order.
func (d *directory) chosen(ctx context.Context) ([]plugins.PartitionKey, error) {
	s := d.client.settings
	var keys []plugins.PartitionKey
	add := func(id, name string) {
		if !slices.ContainsFunc(keys, func(k plugins.PartitionKey) bool { return k.Key == id }) {
			keys = append(keys, plugins.PartitionKey{Key: id, Name: name})
		}
	}
	named := slices.ContainsFunc(s.Logs, func(l string) bool { return !uuid.MatchString(l) })
	if !named && len(s.Logsets) == 0 {
		for _, id := range s.Logs { // nobody needs to be asked
			add(id, "")
		}
		return keys, nil
	}
	logs, sets, err := d.list(ctx, len(s.Logsets) > 0)
	if err != nil {
		return nil, err
	}
	for _, name := range s.Logs {
		found, err := findLog(logs, name)
		if err != nil {
			return nil, fault.New(fault.Config, "resolve logs", "`sluice discover` lists what the key can see", err)
		}
		add(strings.ToLower(found.ID), found.Name)
	}
	for _, name := range s.Logsets {
		set, err := findSet(sets, name)
		if err != nil {
			return nil, fault.New(fault.Config, "resolve logsets", "`sluice discover` lists what the key can see", err)
		}
		for _, l := range set.Logs {
			add(strings.ToLower(l.ID), l.Name)
		}
	}
	for _, k := range keys {
		if !uuid.MatchString(k.Key) {
			return nil, fault.Errorf(fault.Corrupt, "resolve logs", "the vendor lists a log with the ID %q, which is no UUID", k.Key)
		}
	}
	return keys, nil
}

// findLog finds a log by ID or name. IDs that aren't listed are believed: internal logs aren't.
func findLog(logs []listedLog, name string) (listedName, error) {
	var found []listedName
	var near, places []string
	for _, l := range logs {
		switch {
		case strings.EqualFold(l.ID, name), l.Name == name:
			found = append(found, listedName{l.ID, l.Name})
			places = append(places, l.ID+l.within())
		case strings.EqualFold(l.Name, name):
			near = append(near, l.Name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return listedName{}, fmt.Errorf("%d logs are called %q, give the ID of one: %s", len(found), name, strings.Join(places, ", "))
	case uuid.MatchString(name):
		return listedName{ID: name}, nil
	case len(near) > 0:
		return listedName{}, fmt.Errorf("no log is called %q: did you mean %q?", name, near[0])
	}
	return listedName{}, fmt.Errorf("no log is called %q", name)
}

// within says in which log sets a log is.
func (l listedLog) within() string {
	if len(l.Sets) == 0 {
		return ""
	}
	names := make([]string, len(l.Sets))
	for i, s := range l.Sets {
		names[i] = s.Name
	}
	return " (in " + strings.Join(names, ", ") + ")"
}

func findSet(sets []listedSet, name string) (listedSet, error) {
	var found []listedSet
	var ids, near []string
	for _, s := range sets {
		switch {
		case strings.EqualFold(s.ID, name), s.Name == name:
			found = append(found, s)
			ids = append(ids, s.ID)
		case strings.EqualFold(s.Name, name):
			near = append(near, s.Name)
		}
	}
	switch {
	case len(found) == 1 && len(found[0].Logs) == 0:
		return listedSet{}, fmt.Errorf("the log set %q holds no logs", name)
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return listedSet{}, fmt.Errorf("%d log sets are called %q, give the ID of one: %s", len(found), name, strings.Join(ids, ", "))
	case len(near) > 0:
		return listedSet{}, fmt.Errorf("no log set is called %q: did you mean %q?", name, near[0])
	}
	return listedSet{}, fmt.Errorf("no log set is called %q", name)
}

// logName returns what a log is called, "" if that can't be found out: a name is no reason to lose events, nor to wait long for them.
func (d *directory) logName(ctx context.Context, id string) (string, error) {
	d.mu.Lock()
	nameless := d.client.now().Before(d.nameless)
	d.mu.Unlock()
	if nameless {
		return "", nil
	}
	limited, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	logs, _, err := d.list(limited, false)
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		d.setNameless(d.client.now().Add(namesAgain))
		d.client.log.WarnContext(ctx, "the logs' names can't be had: log_name stays empty", "error", err.Error())
		return "", nil
	}
	for _, l := range logs {
		if strings.EqualFold(l.ID, id) {
			return l.Name, nil
		}
	}
	return "", nil
}

func (d *directory) setNameless(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nameless = until
}

// label returns what a label is called. One that the vendor doesn't tell keeps its ID; only an end of ctx and what may pass
// are errors.
func (d *directory) label(ctx context.Context, id string, w waiting) (string, error) {
	d.mu.Lock()
	name, ok := d.labels[id]
	unnamed := d.client.now().Before(d.unnamed[id])
	d.mu.Unlock()
	switch {
	case ok:
		return name, nil
	case unnamed:
		return id, nil
	}
	name = id
	if uuid.MatchString(strings.ToLower(id)) {
		body, err := d.client.labelOf(ctx, id, w)
		var answer struct {
			Label listedName `json:"label"`
		}
		switch kind := fault.KindOf(err); {
		case err == nil && json.Unmarshal(body, &answer) == nil && answer.Label.Name != "":
			name = answer.Label.Name
		case err == nil, kind == fault.NotFound:
		case kind == fault.Auth, kind == fault.Config:
			d.client.log.WarnContext(ctx, "a label's name isn't known", "label", id, "error", err.Error())
		default:
			return "", err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.labels[id] = name
	return name, nil
}

// unname lets a label keep its ID for a while: whatever keeps its name from being told is no reason to lose events.
func (d *directory) unname(ctx context.Context, id string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unnamed[id] = d.client.now().Add(namesAgain)
	d.client.log.WarnContext(ctx, "a label's name can't be had: it keeps its ID for now", "label", id, "error", err.Error())
}
