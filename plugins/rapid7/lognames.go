package rapid7

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
)

// LogNames knows the names of the logs that the key sees. It asks at most once an hour, or ten minutes after it failed: a
// name that isn't known is no reason to lose what it would stand beside. Safe for concurrent use.
type LogNames struct {
	client *rest.Client
	limit  plugins.Limit
	now    func() time.Time
	log    *slog.Logger

	turn  chan struct{}     // holds one token: whoever has it may use what follows
	names map[string]string // by ID in lower case; nil: not known
	again time.Time
}

// NewLogNames returns what asks the client, under a limit, by this machine's clock.
func NewLogNames(client *rest.Client, limit plugins.Limit, now func() time.Time, log *slog.Logger) *LogNames {
	n := &LogNames{client: client, limit: limit, now: now, log: log, turn: make(chan struct{}, 1)}
	n.turn <- struct{}{}
	return n
}

const (
	namesFresh   = time.Hour
	namesAgain   = 10 * time.Minute
	namesTimeout = 30 * time.Second
)

// get returns the names, nil if they can't be had. Its only error is that of ctx.
func (n *LogNames) get(ctx context.Context, waiting func(time.Time, string) error) (map[string]string, error) {
	select {
	case <-n.turn:
		defer func() { n.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if n.now().Before(n.again) {
		return n.names, nil
	}
	limited, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	names, err := n.ask(limited, waiting)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		n.log.Warn("the logs' names can't be had: log_name stays empty", "error", err.Error())
		n.again = n.now().Add(namesAgain)
		return n.names, nil // perhaps old ones, which are better than none
	}
	n.names, n.again = names, n.now().Add(namesFresh)
	return names, nil
}

func (n *LogNames) ask(ctx context.Context, waiting func(time.Time, string) error) (map[string]string, error) {
	const op = "list logs"
	answer, err := n.client.Do(ctx, rest.Request{Op: op, Path: "/management/logs", Limit: n.limit, Waiting: waiting})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	if answer.Status != http.StatusOK {
		return nil, fault.Errorf(fault.Corrupt, op, "the vendor answers %d where 200 was expected", answer.Status)
	}
	names := map[string]string{}
	err = Each(answer, "logs", func(element json.RawMessage) error {
		var l struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		if json.Unmarshal(element, &l) != nil {
			return ErrNoList
		}
		names[strings.ToLower(l.ID)] = l.Name
		return nil
	})
	if errors.Is(err, ErrNoList) {
		err = fault.New(fault.Corrupt, op, "check base_url", err)
	}
	return names, err
}
