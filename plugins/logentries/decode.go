package logentries

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// page is one answer of the query API. Its texts lie in the buffer that it was decoded from.
type page struct {
	links    []link
	progress int64
	behind   bool // progress is there, and says that the query isn't finished
	events   []event
	listed   bool // events is there, and is a list
	// statistic names what says that the answer is a statistic, which no query of ours asks for.
	statistic string
}

// event is one event as the vendor sent it.
type event struct {
	at       int64 // when the vendor received it, in milliseconds since 1970
	sequence uint64
	ordered  bool // sequence is known
	logID    []byte
	message  []byte
	labels   []string // IDs; names once they are resolved
	more     []field  // what the vendor's documents don't name
}

// field is a key that isn't known, and its value: a text's content, or JSON as it stands.
type field struct{ key, value string }

// running says that the query isn't finished: whatever events there are will come again. The status tells nothing.
func (p *page) running() (self string, ok bool) { return find(p.links, "self") }

// unfinished says what keeps an answer without a link to poll from being a finished page, "" if nothing does: whatever is taken for one
// is believed, and an error's text would read as a range without events.
func (p *page) unfinished() string {
	switch {
	case slices.ContainsFunc(p.links, func(l link) bool { return strings.EqualFold(l.rel, "self") }):
		return "the link to ask for the result leads nowhere"
	case p.behind:
		return fmt.Sprintf("the query is at %d %%, but there is no link to ask for the result", p.progress)
	case !p.listed:
		return "the answer holds no list of events"
	}
	return ""
}

// decodePage reads an answer. It changes body and keeps it.
func decodePage(body []byte) (*page, error) {
	s := &scanner{b: body}
	p := &page{}
	if err := s.object(func(key []byte) error { return p.field(s, string(key)) }); err != nil {
		return nil, err
	}
	if s.peek() != 0 || s.i != len(s.b) {
		return nil, s.errorf("something follows the answer")
	}
	return p, nil
}

func (p *page) field(s *scanner, key string) error {
	switch key {
	case "events":
		if p.listed {
			return s.errorf("events twice")
		}
		p.listed = s.peek() == '['
		return s.array(func() error {
			p.events = append(p.events, event{})
			return p.events[len(p.events)-1].decode(s)
		})
	case "links":
		links, err := decodeLinks(s)
		p.links = append(p.links, links...)
		return err
	case "progress":
		text, err := s.raw()
		if err == nil {
			// A number that can't be read shows no progress, no more.
			n, wrong := strconv.ParseInt(string(text), 10, 64)
			p.progress, p.behind = n, wrong == nil && n < 100
		}
		return err
	case "statistics", "partial":
		text, err := s.raw()
		if len(text) > 0 && text[0] == '{' && len(bytes.TrimSpace(text[1:len(text)-1])) > 0 { // an empty one says nothing
			p.statistic = key
		}
		return err
	}
	return s.skip()
}

func decodeLinks(s *scanner) (links []link, err error) {
	err = s.array(func() error {
		var l link
		err := s.object(func(key []byte) error {
			switch string(key) {
			case "rel":
				return s.optional(&l.rel)
			case "href":
				return s.optional(&l.href)
			}
			return s.skip()
		})
		links = append(links, l)
		return err
	})
	return links, err
}

// optional reads a text; anything else leaves none.
func (s *scanner) optional(to *string) error {
	if s.peek() != '"' {
		return s.skip()
	}
	text, err := s.text()
	*to = string(text)
	return err
}

func (e *event) decode(s *scanner) error {
	var (
		dated    bool
		exact    uint64 // of sequence_number_str
		hasExact bool
	)
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "timestamp":
			var n uint64
			if n, dated, err = s.integer(); err == nil {
				e.at = int64(n)
				dated = dated && n < 1<<53
			}
		case "sequence_number":
			e.sequence, e.ordered, err = s.integer()
		case "sequence_number_str":
			exact, hasExact, err = s.integer()
		case "log_id":
			if s.peek() == '"' {
				e.logID, err = s.text()
			} else {
				err = s.skip()
			}
		case "message":
			e.message, err = s.content()
		case "labels":
			err = e.decodeLabels(s)
		case "links":
			err = s.skip()
		default:
			var value []byte
			name := string(key)
			if value, err = s.content(); err == nil && value != nil {
				e.more = append(e.more, field{name, string(value)})
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if hasExact { // the number may have been rounded on its way
		e.sequence, e.ordered = exact, true
	}
	if !dated {
		return s.errorf("an event without a timestamp in milliseconds")
	}
	return nil
}

// content reads any value: of a text its content, of null nothing, else its JSON.
func (s *scanner) content() ([]byte, error) {
	switch s.peek() {
	case '"':
		return s.text()
	case 'n':
		return nil, s.skip()
	}
	return s.raw()
}

// integer reads a number that isn't negative, or a text that holds one. ok is false for anything else: never a rounded one.
func (s *scanner) integer() (n uint64, ok bool, err error) {
	text, err := s.content()
	if err != nil {
		return 0, false, err
	}
	n, err = strconv.ParseUint(string(text), 10, 64)
	return n, err == nil, nil
}

func (e *event) decodeLabels(s *scanner) error {
	return s.array(func() error {
		if s.peek() != '{' {
			var id string
			err := s.optional(&id)
			e.addLabel(id)
			return err
		}
		var id string
		err := s.object(func(key []byte) error {
			if string(key) == "id" {
				return s.optional(&id)
			}
			return s.skip()
		})
		e.addLabel(id)
		return err
	})
}

func (e *event) addLabel(id string) {
	if id != "" {
		e.labels = append(e.labels, id)
	}
}

// errNoSequence keeps a page from being followed by the next.
var errNoSequence = errors.New("an event without a sequence number: it can't be told what follows it")

// position is how far a query has come: events after it are asked for. Within one millisecond sequence numbers tell.
type position struct {
	from     int64 // milliseconds since 1970
	sequence uint64
	after    bool // events of the millisecond count only behind sequence
}

// seen says whether an event of the position's millisecond was seen before.
func (p position) seen(e *event) bool {
	return p.after && e.at == p.from && e.ordered && e.sequence <= p.sequence
}

// beyond says whether p lies behind o.
func (p position) beyond(o position) bool {
	return p.from > o.from || p.from == o.from && p.after && (!o.after || p.sequence > o.sequence)
}

// fresh returns the events of a page that weren't seen before it, and where it ends. It fails on what paging can't be built
// on: events that aren't in order.
func (p position) fresh(events []event) ([]event, position, error) {
	last := p
	skipped := 0
	for i := range events {
		e := &events[i]
		if last == p && p.seen(e) {
			skipped++
			continue
		}
		switch {
		case p.after && e.at == p.from && !e.ordered:
			return nil, p, errNoSequence
		case e.at < last.from:
			return nil, p, fmt.Errorf("an event of %d ms comes after one of %d ms: the answer isn't in order of time", e.at, last.from)
		case e.at == last.from && last.after && e.ordered && e.sequence <= last.sequence:
			return nil, p, fmt.Errorf("sequence number %d comes after %d in the millisecond %d", e.sequence, last.sequence, e.at)
		}
		last = position{from: e.at, sequence: e.sequence, after: e.ordered}
	}
	return events[skipped:], last, nil
}
