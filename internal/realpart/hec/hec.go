// Package hec is a strict receiver of Splunk's HTTP Event Collector for tests. No Splunk could be had: this is written from what Splunk
// publishes, refuses everything that isn't allowed there, and is as unhelpful as the real one may be. An event is kept when it is
// acknowledged; what wasn't acknowledged when the receiver is killed is gone. Tests run against package otelcol's receiver too, which
// others wrote and which forgives more.
//
// From "Troubleshoot HTTP Event Collector", possible error codes (the same list for 8.x to 10.x):
//
//	0 Success 200, 1 Token disabled 403, 2 Token is required 401, 3 Invalid authorization 401, 4 Invalid token 403, 5 No data 400,
//	6 Invalid data format 400, 7 Incorrect index 400, 8 Internal server error 500, 9 Server is busy 503, 10 Data channel is missing 400,
//	11 Invalid data channel 400, 12 Event field is required 400, 13 Event field cannot be blank 400, 14 ACK is disabled 400,
//	15 Error in handling indexed fields 400, 16 Query string authorization is not enabled 400, 17 HEC is healthy 200, 18 to 20 HEC is
//	unhealthy 503, 21 Invalid token 400, 22 Token disabled 400, 23 Server is shutting down 503, 24 and 25 capacity is approached 200,
//	26 HEC queue is at capacity 429, 27 HEC ACK channel is at capacity 429
//
// A request that is too large has no code: splunkd's web server answers 413 with a page. From "About HTTP Event Collector Indexer
// Acknowledgment": the channel is a GUID in X-Splunk-Request-Channel or the query; /services/collector/ack takes {"acks":[0,1]} and answers
// {"acks":{"0":true,"1":false}}; an ackId counts from 0 in each channel; one that was told true is forgotten and false from then on. From
// "Format events for HTTP Event Collector": objects one after another; the keys time, host, source, sourcetype, index, event and fields, of
// which the last is flat. What isn't published was seen by others on a Splunk of their own: invalid-event-number counts from 0, one higher
// for an incorrect index; objects and lists without anything are blank, too; a time that is no number is an error of the fields.
package hec

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Token is a token of the collector.
type Token struct {
	Disabled bool
	Ack      bool     // indexer acknowledgement (useACK) is on
	Indexes  []string // that events may name; empty: any
}

// Event is one that was taken.
type Event struct {
	Time       json.Number       `json:"time"`
	Host       string            `json:"host"`
	Source     string            `json:"source"`
	Sourcetype string            `json:"sourcetype"`
	Index      string            `json:"index"`
	Event      json.RawMessage   `json:"event"`
	Fields     map[string]string `json:"fields"`
}

// Options are what tests set.
type Options struct {
	Tokens     map[string]Token
	MaxContent int64                                             // bytes of a request, unpacked; 0: 1 MB
	AckAfter   int                                               // how often a request is asked for before it is acknowledged; -1: never
	Refuse     func(e Event) bool                                // events that are invalid data beside those that are so by the protocol
	KeepsPrior bool                                              // events before an invalid one are kept, as some versions do
	Before     func(w http.ResponseWriter, r *http.Request) bool // answers in place of the collector, if true
}

// Server is the receiver.
type Server struct {
	URL string

	t       testing.TB
	address string
	server  *http.Server
	serving sync.WaitGroup

	mu       sync.Mutex
	o        Options
	kept     []Event
	channels map[string]*channel // by token and channel
	requests int
}

type channel struct {
	next    int
	pending map[int]*pending
}

type pending struct {
	events []Event
	asked  int
}

// Start starts a receiver that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{t: t, o: o, address: "127.0.0.1:0"}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// Restart listens again at the same address; acknowledgements that were open are forgotten, as after a restart of the real one.
func (s *Server) Restart() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.URL = "http://" + s.address
	s.mu.Lock()
	s.channels = map[string]*channel{}
	s.mu.Unlock()
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve)} //nolint:gosec // a test's
	server := s.server
	s.serving.Go(func() { _ = server.Serve(l) })
}

// Kill closes everything at once.
func (s *Server) Kill() {
	_ = s.server.Close()
	s.serving.Wait()
}

// Set changes the options.
func (s *Server) Set(change func(o *Options)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.o)
}

// Events returns what was kept.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept)
}

// Channels counts the channels that were used since the last start.
func (s *Server) Channels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.channels)
}

// Requests counts requests with events.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

var guid = regexp.MustCompile(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`)

func answer(w http.ResponseWriter, status, code int, text string, more map[string]any) {
	body := map[string]any{"text": text, "code": code}
	for k, v := range more {
		body[k] = v
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Before != nil && s.o.Before(w, r) {
		return
	}
	switch r.URL.Path {
	case "/services/collector/health":
		answer(w, http.StatusOK, 17, "HEC is healthy", nil)
		return
	case "/services/collector/event", "/services/collector/ack":
	default:
		answer(w, http.StatusNotFound, 404, "The requested URL was not found on this server.", nil) // not of the list: splunkd's own words
		return
	}
	if r.Method != http.MethodPost {
		answer(w, http.StatusMethodNotAllowed, 405, "Method Not Allowed", nil)
		return
	}
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		answer(w, http.StatusUnauthorized, 2, "Token is required", nil)
		return
	}
	name, ok := strings.CutPrefix(authorization, "Splunk ")
	if !ok {
		answer(w, http.StatusUnauthorized, 3, "Invalid authorization", nil)
		return
	}
	token, ok := s.o.Tokens[name]
	switch {
	case !ok:
		answer(w, http.StatusForbidden, 4, "Invalid token", nil)
		return
	case token.Disabled:
		answer(w, http.StatusForbidden, 1, "Token disabled", nil)
		return
	}
	id := r.Header.Get("X-Splunk-Request-Channel")
	if id == "" {
		id = r.URL.Query().Get("channel")
	}
	isAck := strings.HasSuffix(r.URL.Path, "/ack")
	switch {
	case isAck && !token.Ack:
		answer(w, http.StatusBadRequest, 14, "ACK is disabled", nil)
		return
	case token.Ack && id == "":
		answer(w, http.StatusBadRequest, 10, "Data channel is missing", nil)
		return
	case id != "" && !guid.MatchString(id):
		answer(w, http.StatusBadRequest, 11, "Invalid data channel", nil)
		return
	}
	key := name + " " + id
	if s.channels[key] == nil {
		s.channels[key] = &channel{pending: map[int]*pending{}}
	}
	if isAck {
		s.ack(w, r, s.channels[key])
		return
	}
	s.take(w, r, token, s.channels[key])
}

// take takes events.
func (s *Server) take(w http.ResponseWriter, r *http.Request, token Token, c *channel) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			if errors.Is(err, io.EOF) {
				answer(w, http.StatusBadRequest, 5, "No data", nil)
				return
			}
			answer(w, http.StatusBadRequest, 6, "Invalid data format", nil)
			return
		}
		in = z
	}
	most := s.o.MaxContent
	if most == 0 {
		most = 1e6
	}
	body, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		answer(w, http.StatusBadRequest, 6, "Invalid data format", nil)
		return
	case int64(len(body)) > most:
		http.Error(w, "<html><head><title>413 Request Entity Too Large</title></head></html>", http.StatusRequestEntityTooLarge)
		return
	case len(bytes.TrimSpace(body)) == 0:
		answer(w, http.StatusBadRequest, 5, "No data", nil)
		return
	}
	s.requests++
	events, code, text := s.parse(body, token)
	if code != 0 {
		if s.o.KeepsPrior {
			s.kept = append(s.kept, events...)
		}
		number := len(events)
		if code == 7 {
			number++
		}
		answer(w, http.StatusBadRequest, code, text, map[string]any{"invalid-event-number": number})
		return
	}
	if !token.Ack {
		s.kept = append(s.kept, events...)
		answer(w, http.StatusOK, 0, "Success", nil)
		return
	}
	c.pending[c.next] = &pending{events: events}
	answer(w, http.StatusOK, 0, "Success", map[string]any{"ackId": c.next})
	c.next++
}

// parse reads events one after another; after a bad one it returns those before it.
func (s *Server) parse(body []byte, token Token) (events []Event, code int, text string) {
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			return events, 0, ""
		} else if err != nil {
			return events, 6, "Invalid data format"
		}
		var fields struct {
			Time   json.RawMessage            `json:"time"`
			Fields map[string]json.RawMessage `json:"fields"`
		}
		if err := json.Unmarshal(raw, &fields); err != nil {
			return events, 6, "Invalid data format"
		}
		if _, err := strconv.ParseFloat(strings.Trim(string(fields.Time), `"`), 64); fields.Time != nil && err != nil {
			return events, 15, "Error in handling indexed fields"
		}
		for _, v := range fields.Fields {
			if len(v) == 0 || v[0] == '{' {
				return events, 15, "Error in handling indexed fields"
			}
		}
		var e Event
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&e); err != nil {
			return events, 6, "Invalid data format"
		}
		switch {
		case e.Event == nil:
			return events, 12, "Event field is required"
		case blank(e.Event):
			return events, 13, "Event field cannot be blank"
		case e.Index != "" && len(token.Indexes) > 0 && !slices.Contains(token.Indexes, e.Index):
			return events, 7, "Incorrect index"
		case s.o.Refuse != nil && s.o.Refuse(e):
			return events, 6, "Invalid data format"
		}
		events = append(events, e)
	}
}

// blank reports whether an event holds nothing.
func blank(event json.RawMessage) bool {
	var v any
	if err := json.Unmarshal(event, &v); err != nil {
		return false
	}
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// ack says which requests are indexed. One that is said to be is forgotten.
func (s *Server) ack(w http.ResponseWriter, r *http.Request, c *channel) {
	var asked struct {
		Acks []int `json:"acks"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Acks) == 0 {
		answer(w, http.StatusBadRequest, 6, "Invalid data format", nil)
		return
	}
	acks := map[string]bool{}
	for _, id := range asked.Acks {
		p := c.pending[id]
		indexed := p != nil && s.o.AckAfter >= 0 && p.asked >= s.o.AckAfter
		if p != nil {
			p.asked++
		}
		if indexed {
			s.kept = append(s.kept, p.events...)
			delete(c.pending, id)
		}
		acks[fmt.Sprint(id)] = indexed
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(map[string]any{"acks": acks})
}
