package rapid7

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/flow"
)

const (
	// usageLongest is how many days back figures of logs are asked for first: what sources beside the document promise.
	usageLongest = 30
	// meterKeeps is how long an answer serves other logs too: one holds the figures of every log of the organisation. No longer, since the
	// host takes a figure for what the vendor says now.
	meterKeeps = time.Minute
)

// Meter tells how many bytes logs received on each UTC day, by the usage API's figures of all logs, a request for all of them and many
// days. Its methods are safe for concurrent use.
type Meter struct {
	usage *Usage
	turn  chan struct{} // held by the one that asks
	last  metered
	short bool // the vendor refused days beyond the document's
}

// metered is an answer, and what it is about.
type metered struct {
	reply
	days  flow.Range // that were asked for; zero: nothing was
	at    time.Time  // by this machine's clock
	today time.Time  // by the vendor's
}

// NewMeter returns a meter that asks as u does; u's form and logs don't matter.
func NewMeter(u Usage) *Meter {
	u.Form, u.Logs, u.TimeRange = UsageLogs, nil, ""
	return &Meter{usage: &u, turn: make(chan struct{}, 1)}
}

// Measure returns the figures of a log of the UTC days that meet r, as far as the vendor tells them. A log that has no figure on a day
// that is told received nothing then, once the day has settled; until then it may be late.
func (m *Meter) Measure(ctx context.Context, log string, r flow.Range) ([]flow.Measure, error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-m.turn }()
	asked, err := m.days(ctx, r)
	if err != nil || asked.Empty() {
		return nil, err
	}
	if !m.last.days.Contains(asked) || m.usage.Now().Sub(m.last.at) >= meterKeeps {
		if err := m.ask(ctx); err != nil {
			return nil, err
		}
	}
	return m.last.of(log, asked), nil
}

// days returns the days that meet r and of which the vendor may have figures.
func (m *Meter) days(ctx context.Context, r flow.Range) (flow.Range, error) {
	today := m.last.today
	if today.IsZero() || m.usage.Now().Sub(m.last.at) >= meterKeeps {
		now, err := m.usage.Client.Now(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return flow.Range{}, err
			}
			now = m.usage.Now()
		}
		today = flow.Day(now)
		if !today.Equal(m.last.today) {
			m.last = metered{today: today}
		}
	}
	asked := flow.Range{From: flow.Day(r.From), To: flow.Day(r.To.Add(day - time.Millisecond))}
	return asked.Intersect(m.told(today)), nil
}

// told is the days that the vendor may tell of, today's included.
func (m *Meter) told(today time.Time) flow.Range {
	back := usageLongest
	if m.short {
		back = UsageLookBack
	}
	return flow.Range{From: today.AddDate(0, 0, 1-back), To: today.AddDate(0, 0, 1)}
}

// ask fetches the figures of all days that the vendor may tell of, so that one request answers whatever is asked next. A refusal of days
// beyond the document's is taken for what it says: the document's alone are asked for from then on.
func (m *Meter) ask(ctx context.Context) error {
	u, today := m.usage, m.last.today
	days := m.told(today)
	// Whether `to` is included isn't documented: at worst today isn't told, whose figure says little yet.
	r, err := u.ask(ctx, u.paths()[0], u.dates(days.From, today), nil)
	var refused *rest.StatusError
	if errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusNotFound) && !m.short {
		m.short = true
		days = m.told(today)
		r, err = u.ask(ctx, u.paths()[0], u.dates(days.From, today), nil)
	}
	if err != nil {
		return err
	}
	m.last = metered{reply: r, days: days, at: u.Now(), today: today}
	return nil
}

// of returns what the answer says of a log on the days of a range.
func (a *metered) of(log string, r flow.Range) []flow.Measure {
	r = r.Intersect(a.days)
	told, bytes := map[time.Time]bool{}, map[time.Time]int64{}
	for _, f := range a.Figures.Figures {
		told[f.Day] = true
		if f.LogID == log {
			bytes[f.Day] = f.Bytes
		}
	}
	now := a.date
	if now.IsZero() {
		now = a.today
	}
	var out []flow.Measure
	for d := r.From; d.Before(r.To); d = d.AddDate(0, 0, 1) {
		n, has := bytes[d]
		// Nothing but the document says that an empty day within its days is told: beyond them another log's figure must show it.
		documented := d.After(a.today.AddDate(0, 0, -UsageLookBack)) && (a.From.IsZero() || a.holds(d))
		settled := !now.Before(d.AddDate(0, 0, 1).Add(UsageSettle))
		if !has && (!settled || !told[d] && !documented) {
			continue
		}
		out = append(out, flow.Measure{Range: flow.Range{From: d, To: d.AddDate(0, 0, 1)}, Rows: -1, Bytes: n})
	}
	return out
}
