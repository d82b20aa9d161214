package logentries

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

// pace is how the vendor is asked. A link that isn't asked for 20 s is dead.
type pace struct {
	first, most time.Duration // before the first poll, and between later ones; each is half as long again as the last
	backoff     time.Duration // before a page is asked for again; it doubles
	stuck       time.Duration // without progress, after which a query is given up
	throttled   time.Duration // how long to wait when the vendor doesn't say
}

func defaultPace() pace {
	return pace{
		first: 250 * time.Millisecond, most: 6 * time.Second, backoff: time.Second, stuck: 15 * time.Minute, throttled: 15 * time.Second,
	}
}

const (
	attempts      = 6  // of one page, before its error is the read's
	labelAttempts = 3  // of a label's name
	pauses        = 20 // of one page because of the vendor's limit
	pageBytes     = 16 << 20
	singleBytes   = 48 << 20 // three times the longest message: what \uXXXX for each character may take; only control characters take more
	shrink        = 8
	shownBytes    = 300 // of an answer that isn't understood
)

// sizes bound what is held of answers, in bytes.
type sizes struct {
	page   int64 // of an answer: beyond, fewer events are asked for at a time
	single int64 // of an answer with one event, and of all answers whose events haven't been emitted
}

// errExpired is a query that the vendor no longer knows.
var errExpired = errors.New("the vendor no longer knows the query that it ran")

// batch is a page whose events weren't seen before and lie in the slice.
type batch struct {
	events  []event
	outside uint64    // events beyond the slice, left to the next one
	date    time.Time // of the page's first answer
	beyond  string    // what the vendor says about its retention, "" if nothing
	retried uint64    // how often the page was asked for again
	size    int64     // bytes of the answer that the events lie in
	held    int64     // bytes of the pager's room that this takes until release
}

// pager reads a slice's events page by page, each to its end before the next, in a goroutine of its own: however long a sink
// takes, a query that runs is polled. A finished page waits without any link, for the next page is a new query, built from
// the last event's time and sequence number. So it is when a page breaks.
type pager struct {
	client    *client
	directory *directory
	slice     flow.Slice
	pace      pace
	perPage   int // events of a page at most
	sizes     sizes
	room      *semaphore.Weighted // bytes of answers that may be held
	news      *news
	rowCap    uint64

	asked       int    // events of the next page: fewer than perPage as long as they are large
	rows, bytes uint64 // so far
}

// run sends batches until the events are complete. The first is always sent, even without events.
func (p *pager) run(ctx context.Context, out chan<- *batch) error {
	at := position{from: p.slice.From.UnixMilli()}
	p.asked = p.perPage
	beyond, judged := "", false // what the vendor said of its retention, and whether that was decided about
	for pages := 1; ; pages++ {
		b, next, done, err := p.page(ctx, at, pages == 1)
		if err != nil {
			return err
		}
		// Empty pages may come first: only an event, or the end, tells what the vendor's word means for the slice.
		if !judged {
			beyond = cmp.Or(beyond, b.beyond)
			if judged = len(b.events) > 0 || done; judged {
				if err := p.retention(beyond, b.events); err != nil {
					return err
				}
			}
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		if done {
			return nil
		}
		if err := p.cut(next); err != nil {
			return err
		}
		at = next
	}
}

// page asks for a page until it has come whole.
func (p *pager) page(ctx context.Context, at position, first bool) (b *batch, next position, done bool, err error) {
	failures, waits := 0, 0
	for {
		b, next, done, err = p.askInRoom(ctx, at, p.asked)
		if err == nil {
			b.retried = uint64(failures + waits)
			if 2*b.size <= p.sizes.page {
				p.asked = min(p.perPage, 2*p.asked)
			}
			return b, next, done, nil
		}
		pause := fault.RetryAfterOf(err)
		switch kind := fault.KindOf(err); {
		case ctx.Err() != nil:
			return nil, at, false, err
		case errors.Is(err, errLarge) && p.asked > 1:
			p.asked = max(1, p.asked/shrink)
			continue
		case errors.Is(err, errLarge):
			return nil, at, false, fault.New(fault.Oversize, p.op(), "leave it out by a query that doesn't match it", fmt.Errorf(
				"one event, of %s or later, doesn't fit in an answer: %w", time.UnixMilli(at.from).UTC().Format(time.RFC3339Nano), err))
		case kind == fault.Throttled:
			// Before anything was read the host may as well do something else meanwhile.
			if waits++; waits > pauses || first && !errors.Is(err, errExpired) {
				return nil, at, false, err
			}
			if pause <= 0 {
				pause = p.pace.throttled
			}
		case kind == fault.Transient, kind == fault.Unknown:
			if failures++; failures >= attempts {
				return nil, at, false, err
			}
			pause = max(pause, p.pace.backoff<<(failures-1))
		case kind == fault.Corrupt:
			// Once more: what broke on its way comes whole, what the vendor means stays.
			if failures++; failures >= 2 {
				return nil, at, false, err
			}
			pause = max(pause, p.pace.backoff<<(failures-1))
		default:
			return nil, at, false, err
		}
		if err := p.sleep(ctx, pause, "vendor, to ask again: "+firstLine(err)); err != nil {
			return nil, at, false, err
		}
	}
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// askInRoom is ask as soon as there is room for the answer; what that doesn't take is given back. It waits here, where no query runs whose
// link could die meanwhile. As the room is just what one event may take, such a one is held alone, and large pages aren't read ahead.
func (p *pager) askInRoom(ctx context.Context, at position, perPage int) (b *batch, next position, done bool, err error) {
	most := p.sizes.page
	if perPage == 1 {
		most = p.sizes.single
	}
	if err := p.room.Acquire(ctx, most); err != nil {
		return nil, at, false, err
	}
	var held int64
	if b, next, done, err = p.ask(ctx, at, perPage, most); err == nil {
		b.held = min(b.held, most)
		held = b.held
	}
	p.room.Release(most - held)
	return b, next, done, err
}

// release gives back the room of a batch whose events have been emitted.
func (p *pager) release(b *batch) { p.room.Release(b.held) }

// ask asks for a page once: it starts the query and polls it until it is finished.
func (p *pager) ask(ctx context.Context, at position, perPage int, most int64) (b *batch, next position, done bool, err error) {
	to := p.slice.To.UnixMilli()
	if p.client.settings.inclusive {
		to--
	}
	answer, err := p.client.start(ctx, p.slice.Key, at, to, perPage, p.news.put)
	if err != nil {
		return nil, at, false, err
	}
	b = &batch{date: answer.Date}
	wait, progress, moved := p.pace.first, int64(-1), p.client.now()
	for {
		pg, err := p.read(answer, most, b)
		if err != nil {
			return nil, at, false, err
		}
		self, running := pg.running()
		if !running {
			next, done, err := p.finish(ctx, b, pg, at, perPage)
			return b, next, done, err
		}
		now := p.client.now()
		if pg.progress != progress {
			progress, moved = pg.progress, now
		} else if now.Sub(moved) > p.pace.stuck {
			return nil, at, false, fault.Errorf(fault.Transient, p.op(), "the query has stood at %d %% for %v", progress, p.pace.stuck)
		}
		if err := p.sleep(ctx, wait, fmt.Sprintf("vendor, query at %d %%", progress)); err != nil {
			return nil, at, false, err
		}
		wait = min(wait+wait/2, p.pace.most)
		if answer, err = p.client.next(ctx, p.slice.Key, self, p.news.put); err != nil {
			return nil, at, false, p.broken(err)
		}
	}
}

func (p *pager) op() string { return "query log " + p.slice.Key }

// read takes an answer whole. Whether the query runs is told by its links, never by its status.
func (p *pager) read(answer *rest.Answer, most int64, b *batch) (*page, error) {
	defer answer.Close()
	if answer.Status != http.StatusOK && answer.Status != http.StatusAccepted {
		return nil, fault.Errorf(fault.Corrupt, p.op(), "the vendor answers %d where 200 or 202 was expected", answer.Status)
	}
	body, err := readAll(answer, p.op(), most)
	if err != nil {
		return nil, err
	}
	pg, err := decodePage(body)
	if err != nil {
		return nil, fault.New(fault.Corrupt, p.op(), "check base_url, and whether a proxy answers in the vendor's place",
			fmt.Errorf("the answer isn't the documented JSON: %w", err))
	}
	if pg.statistic != "" {
		return nil, fault.Errorf(fault.Config, p.op(), "the answer holds %q instead of events", pg.statistic).
			WithHint("leave calculations out of the query")
	}
	if _, running := pg.running(); !running {
		why := pg.unfinished()
		switch {
		case why != "" && !pg.listed: // then it holds nothing of a log either
			why += ": " + p.client.rest.Excerpt(body, shownBytes)
		case why == "" && answer.Status == http.StatusAccepted:
			why = "202, but no link to ask for the result"
		}
		if why != "" {
			return nil, fault.Errorf(fault.Corrupt, p.op(), "%s", why).
				WithHint("check base_url, and whether a proxy answers in the vendor's place")
		}
	}
	if strings.EqualFold(answer.Header.Get("x-beyond-retention"), "true") {
		b.beyond = "the vendor says that the time range lies beyond its retention"
		if text := answer.Header.Get("x-beyond-retention-message"); text != "" {
			b.beyond += ": " + text
		}
	}
	p.bytes += uint64(len(body))
	b.size, b.held = int64(len(body)), int64(cap(body))
	return pg, nil
}

// broken says what the failure of a poll means: its query has to be started anew.
func (p *pager) broken(err error) error {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return fault.New(fault.Transient, p.op(), "", fmt.Errorf("%w: %w", errExpired, err))
	case fault.Throttled:
		// The link will be dead when the limit allows polls again.
		return fault.New(fault.Throttled, p.op(), "", fmt.Errorf("%w: %w", errExpired, err)).After(fault.RetryAfterOf(err))
	}
	return p.client.explain(err, "")
}

// finish takes the events of a finished page and says where the next begins. done: there is none.
func (p *pager) finish(ctx context.Context, b *batch, pg *page, at position, perPage int) (next position, done bool, err error) {
	corrupt := func(err error) (position, bool, error) {
		return at, false, fault.New(fault.Corrupt, p.op(), "", err)
	}
	events, last, err := at.fresh(pg.events)
	if err != nil {
		return corrupt(err)
	}
	full := len(pg.events) >= perPage
	href, linked := find(pg.links, "next")
	switch {
	case len(events) > 0:
		done = !full && !linked
	case full:
		return corrupt(fmt.Errorf("the vendor shows a page of %d events again: it doesn't go on behind sequence number %d of millisecond %d",
			len(pg.events), at.sequence, at.from))
	default:
		// A link is shown even when nothing follows; it counts only if it leads further.
		last, done = at, true
		if beyond, ok := positionOf(href); linked && ok && beyond.beyond(at) {
			last, done = beyond, false
		}
	}
	end := p.slice.To.UnixMilli()
	if last.from >= end {
		done = true
	}
	if !done && len(events) > 0 && !last.after {
		return corrupt(errNoSequence)
	}
	b.events, b.outside = within(events, p.slice.From.UnixMilli(), end)
	for i := range b.events {
		e := &b.events[i]
		if len(e.logID) > 0 && !strings.EqualFold(string(e.logID), p.slice.Key) {
			return corrupt(fmt.Errorf("an event of log %.100q", e.logID))
		}
		if err := p.name(ctx, e); err != nil {
			return at, false, err
		}
	}
	p.rows += uint64(len(b.events))
	return last, done, nil
}

// within returns the events in [from, to), which are in order of time, and how many lie outside.
func within(events []event, from, to int64) ([]event, uint64) {
	n := len(events)
	for len(events) > 0 && events[0].at < from {
		events = events[1:]
	}
	for len(events) > 0 && events[len(events)-1].at >= to {
		events = events[:len(events)-1]
	}
	return events, uint64(n - len(events))
}

// positionOf reads the position that a Next link leads to. The link itself isn't followed.
func positionOf(href string) (position, bool) {
	u, err := url.Parse(href)
	if err != nil {
		return position{}, false
	}
	q := u.Query()
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	if err != nil {
		return position{}, false
	}
	sequence, err := strconv.ParseUint(q.Get("sequence_number"), 10, 64)
	return position{from: from, sequence: sequence, after: err == nil}, true
}

func (p *pager) name(ctx context.Context, e *event) error {
	for i, id := range e.labels {
		name, err := p.label(ctx, id)
		if err != nil {
			return err
		}
		e.labels[i] = name
	}
	return nil
}

// label asks for a label's name by itself: the page that holds it has come whole. A name that can't be had then is done without.
func (p *pager) label(ctx context.Context, id string) (string, error) {
	for failures := 1; ; failures++ {
		name, err := p.directory.label(ctx, id, p.news.put)
		switch fault.KindOf(err) {
		case fault.Transient, fault.Corrupt, fault.Throttled:
		default:
			return name, err
		}
		if ctx.Err() != nil {
			return name, err
		}
		pause := max(fault.RetryAfterOf(err), p.pace.backoff<<(failures-1))
		if failures == labelAttempts || pause > nameTimeout {
			p.directory.unname(ctx, id, err)
			return id, nil
		}
		if err := p.sleep(ctx, pause, "vendor, to ask again: "+firstLine(err)); err != nil {
			return "", err
		}
	}
}

// retention decides about a slice of which the vendor says that it lies, in part, before what it keeps: by its first events, or by
// there being none at all.
func (p *pager) retention(beyond string, events []event) error {
	s := p.slice
	if beyond == "" {
		return nil
	}
	if len(events) == 0 {
		return fault.New(fault.Unavailable, p.op(), "", errors.New(beyond))
	}
	if first := time.UnixMilli(events[0].at).UTC(); first.After(s.From) {
		return plugins.Truncated(s, p.rows, p.bytes,
			flow.NewSlice(s.Partition, s.From, first, s.Rev), flow.NewSlice(s.Partition, first, s.To, s.Rev))
	}
	if s.To.Sub(s.From) > time.Minute {
		return plugins.Truncated(s, p.rows, p.bytes, pieces(s, 2)...)
	}
	return nil // what is left is kept, and counted
}

// cut ends a read that can't end within some windows of the vendor's limit, as soon as that shows: parts of it can be kept,
// and what is read after that can't. A slice of one millisecond is read whole.
func (p *pager) cut(next position) error {
	span := p.slice.To.Sub(p.slice.From).Milliseconds()
	seen := next.from - p.slice.From.UnixMilli() + 1
	if span <= 1 || seen <= 0 || p.rows < p.rowCap/16 {
		return nil
	}
	// If the rest is as dense as what was seen.
	estimate := float64(p.rows) / float64(seen) * float64(span)
	if estimate < 2*float64(p.rowCap) {
		return nil
	}
	n := int(min(estimate/(capShare*float64(p.rowCap))+1, maxPieces))
	return plugins.Truncated(p.slice, p.rows, p.bytes, pieces(p.slice, n)...)
}

const (
	capShare  = 0.7
	maxPieces = 256
)

// pieces cuts a slice into parts of equal length, at most as many as it has milliseconds.
func pieces(s flow.Slice, n int) []flow.Slice {
	var out []flow.Slice
	for _, r := range s.Range().Cut(n) {
		out = append(out, flow.NewSlice(s.Partition, r.From, r.To, s.Rev))
	}
	return out
}

// sleep waits and says why.
func (p *pager) sleep(ctx context.Context, d time.Duration, why string) error {
	if err := p.news.put(p.client.now().Add(d).UTC(), why); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// news carries what the pager waits for to the emitter, which only the read's own goroutine may use. The last word counts.
type news struct {
	ready chan struct{}

	mu    sync.Mutex
	until time.Time
	why   string
}

func newNews() *news { return &news{ready: make(chan struct{}, 1)} }

func (n *news) put(until time.Time, why string) error {
	n.mu.Lock()
	n.until, n.why = until, why
	n.mu.Unlock()
	select {
	case n.ready <- struct{}{}:
	default: // the last one hasn't been passed on: it is replaced
	}
	return nil
}

func (n *news) get() (until time.Time, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.until, n.why
}
