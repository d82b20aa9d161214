package main

import (
	"context"
	"errors"
	"os"

	"github.com/sluice-io/sluice/host/budget"
	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/ledger"
)

// looker is a host that only looks: it may run beside one that holds the state, and leaves nothing behind. Its plugins ask
// an empty budget of its own, so it must make no request that counts.
type looker struct {
	*host
	scratch *ledger.Ledger
	folder  string
}

// openLooker makes a looker. Its ledger is the state's, read only; an empty one if there is none yet.
func (a *app) openLooker(ctx context.Context, c *config.Config) (_ *looker, err error) {
	l := &looker{host: &host{config: c, log: a.log.logger, app: a}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.folder, err = os.MkdirTemp("", "sluice-look-"); err != nil {
		return l, err
	}
	l.spool = l.folder
	if l.scratch, err = ledger.Open(ctx, l.folder, ledger.Options{Version: buildVersion()}); err != nil {
		return l, err
	}
	clock, err := budget.SystemClock()
	if err != nil {
		return l, err
	}
	if l.budget, err = budget.New(l.scratch.DB(), clock); err != nil {
		return l, err
	}
	l.ledger, err = ledger.OpenReadOnly(ctx, c.State)
	if errors.Is(err, ledger.ErrNoLedger) {
		l.ledger, err = l.scratch, nil
	}
	return l, err
}

// Close closes the ledgers and removes what the looker made. Idempotent.
func (l *looker) Close() error {
	var errs []error
	for _, one := range []*ledger.Ledger{l.ledger, l.scratch} {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	if l.folder != "" {
		errs = append(errs, os.RemoveAll(l.folder))
	}
	return errors.Join(errs...)
}
