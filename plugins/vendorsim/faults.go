package vendorsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Script is a list of fault rules, tried in order: the first that fires decides. Seed drives the probabilities.
type Script struct {
	Seed  uint64 `json:"seed,omitempty"`
	Rules []Rule `json:"rules"`
}

// Rule says which requests suffer a fault. Conditions that are left out hold always; all that are given must hold.
// A rule is asked after key and budget: an injected answer costs a request, as a vendor's own failure does.
type Rule struct {
	Name string `json:"name,omitempty"` // shown in Request.Fault; default: "rule N", from 1
	// Path is a prefix of the URL path without /log_search; default: /download/. "/" also meets requests without
	// a key.
	Path        string                   `json:"path,omitempty"`
	Log         string                   `json:"log,omitempty"` // ID or name of one of the request's logs
	When        func(*http.Request) bool `json:"-"`
	Nth         []int                    `json:"nth,omitempty"`         // which of the requests that meet the conditions above, from 1
	Every       int                      `json:"every,omitempty"`       // each Nth of them
	Probability float64                  `json:"probability,omitempty"` // between 0 and 1
	Times       int                      `json:"times,omitempty"`       // fires so often at most; 0: for ever
	Fault       Fault                    `json:"fault"`
}

// Fault is what happens to a request. Fields combine: a delay and then a status, a slow body that is cut. Offsets
// count bytes of the body on the wire; a body that ends earlier suffers at its end, before the final chunk.
type Fault struct {
	Delay time.Duration   `json:"-"` // "delay" in JSON, as "250ms": before the status line
	Hold  <-chan struct{} `json:"-"` // wait before the status line until it is closed

	// Status answers with this status and Body instead of the log. An empty body of a 429 is the vendor's text.
	Status     int               `json:"status,omitempty"`
	Body       string            `json:"body,omitempty"`
	RetryAfter string            `json:"retry_after,omitempty"` // the header, word for word; none if empty
	Header     map[string]string `json:"header,omitempty"`      // further headers of any answer, word for word

	// Redirect answers 302 (or Status) to this URL plus the request's path and query. "trap" is an origin of the
	// simulator's own that counts the keys it is shown: Stats.KeysLeaked.
	Redirect string `json:"redirect,omitempty"`

	Rate       int64           `json:"rate,omitempty"`        // bytes a second
	StallAfter *int64          `json:"stall_after,omitempty"` // send nothing after that many bytes
	StallFor   time.Duration   `json:"-"`                     // "stall_for" in JSON; 0: until the client leaves
	Release    <-chan struct{} `json:"-"`                     // ends a stall when closed
	CutAfter   *int64          `json:"cut_after,omitempty"`   // close the connection after that many bytes, without the final chunk
	Reset      bool            `json:"reset,omitempty"`       // cut with a TCP reset instead of a clean close

	// EndAfter ends the body cleanly, final chunk and all, at the last whole line within that many bytes (before
	// compression): the loss that no client can see from the answer.
	EndAfter *int64 `json:"end_after,omitempty"`

	// Gzip sends a spoilt gzip body whether asked for or not: "checksum" (wrong trailer), "truncated" (no
	// trailer), "garbage" (spoilt in the middle) or "plain" (text that claims to be gzip).
	Gzip string `json:"gzip,omitempty"`

	// Zip spoils the archive of an ELSA download: "checksum" (a wrong one), "truncated" (half of the archive, ended cleanly), "bomb"
	// (a small archive of 256 MiB), "nested" (an archive in the archive), "traversal" (a name that leads out of it) or "garbage" (a
	// spoilt entry).
	Zip string `json:"zip,omitempty"`

	// Framing replaces chunks: "close" (the body ends when the connection does) or "length" (Content-Length).
	Framing string `json:"framing,omitempty"`
}

// At returns a pointer to n, for the offsets of a [Fault].
func At(n int64) *int64 { return &n }

// ReadScript reads a script from JSON. Unknown keys are errors.
func ReadScript(r io.Reader) (Script, error) {
	var s Script
	data, err := io.ReadAll(r)
	if err != nil {
		return Script{}, fmt.Errorf("fault script: %w", err)
	}
	if err := strict(data, &s); err != nil {
		return Script{}, fmt.Errorf("fault script: %w", err)
	}
	if err := s.Validate(); err != nil {
		return Script{}, fmt.Errorf("fault script: %w", err)
	}
	return s, nil
}

func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}

type plainFault Fault

// faultJSON adds the durations as texts.
type faultJSON struct {
	*plainFault
	Delay    string `json:"delay,omitempty"`
	StallFor string `json:"stall_for,omitempty"`
}

// UnmarshalJSON reads a fault; durations are texts such as "1.5s".
func (f *Fault) UnmarshalJSON(data []byte) error {
	j := faultJSON{plainFault: (*plainFault)(f)}
	if err := strict(data, &j); err != nil {
		return err
	}
	for _, d := range []struct {
		key, text string
		to        *time.Duration
	}{{"delay", j.Delay, &f.Delay}, {"stall_for", j.StallFor, &f.StallFor}} {
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return fmt.Errorf("%s: %w", d.key, err)
		}
		*d.to = v
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{plainFault: (*plainFault)(&f)}
	if f.Delay != 0 {
		j.Delay = f.Delay.String()
	}
	if f.StallFor != 0 {
		j.StallFor = f.StallFor.String()
	}
	return json.Marshal(j)
}

// Validate reports everything that is wrong with the script.
func (s Script) Validate() error {
	var errs []error
	for i, r := range s.Rules {
		for _, problem := range r.problems() {
			errs = append(errs, fmt.Errorf("rules[%d]: %s", i, problem))
		}
	}
	return errors.Join(errs...)
}

func (r *Rule) problems() (out []string) {
	bad := func(is bool, problem string) {
		if is {
			out = append(out, problem)
		}
	}
	f := &r.Fault
	bad(r.Path != "" && !strings.HasPrefix(r.Path, "/"), "path must begin with /")
	bad(slices.ContainsFunc(r.Nth, func(n int) bool { return n < 1 }), "nth counts from 1")
	bad(r.Every < 0 || r.Times < 0, "every and times must not be negative")
	bad(r.Probability < 0 || r.Probability > 1, "probability must lie between 0 and 1")
	bad(f.Status != 0 && (f.Status < 200 || f.Status > 599), "status must lie between 200 and 599")
	bad(f.Body != "" && f.Status == 0, "body needs status")
	bad(f.RetryAfter != "" && f.Status == 0, "retry_after needs status")
	bad(f.Delay < 0 || f.StallFor < 0 || f.Rate < 0, "delay, stall_for and rate must not be negative")
	for _, at := range []*int64{f.StallAfter, f.CutAfter, f.EndAfter} {
		bad(at != nil && *at < 0, "stall_after, cut_after and end_after must not be negative")
	}
	bad(f.StallFor > 0 && f.StallAfter == nil, "stall_for needs stall_after")
	bad(f.Reset && f.CutAfter == nil, "reset needs cut_after")
	bad(!slices.Contains([]string{"", "checksum", "truncated", "garbage", "plain"}, f.Gzip), "gzip: want checksum, truncated, garbage or plain")
	bad(!slices.Contains([]string{"", "checksum", "truncated", "bomb", "nested", "traversal", "garbage"}, f.Zip),
		"zip: want checksum, truncated, bomb, nested, traversal or garbage")
	bad(!slices.Contains([]string{"", "close", "length"}, f.Framing), "framing: want close or length")
	bad(f.Framing == "length" && f.Gzip != "", "framing length and gzip don't go together")
	return out
}

// faults applies a script.
type faults struct {
	mu    sync.Mutex
	rules []ruleState
	seed  uint64
}

type ruleState struct {
	Rule
	met, fired int
}

func (f *faults) set(s Script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seed, f.rules = s.Seed, nil
	f.append(s.Rules)
}

func (f *faults) append(rules []Rule) {
	for _, r := range rules {
		if r.Name == "" {
			r.Name = fmt.Sprintf("rule %d", len(f.rules)+1)
		}
		if r.Path == "" {
			r.Path = "/download/"
		}
		f.rules = append(f.rules, ruleState{Rule: r})
	}
}

// choose returns the name and fault of the first rule that fires for r, if any. logs are the IDs and names that
// the request is about. A chance is drawn from (seed, rule, count), so it doesn't depend on what other rules did.
func (f *faults) choose(r *http.Request, path string, logs []string) (name string, fault *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rules {
		rule := &f.rules[i]
		if !strings.HasPrefix(path, rule.Path) ||
			rule.Log != "" && !slices.ContainsFunc(logs, func(l string) bool { return strings.EqualFold(l, rule.Log) }) ||
			rule.When != nil && !rule.When(r) {
			continue
		}
		rule.met++
		draw := random(f.seed ^ uint64(i)<<32 ^ uint64(rule.met))
		switch {
		case rule.Times > 0 && rule.fired >= rule.Times,
			len(rule.Nth) > 0 && !slices.Contains(rule.Nth, rule.met),
			rule.Every > 0 && rule.met%rule.Every != 0,
			rule.Probability > 0 && float64(draw.next()>>11)/(1<<53) >= rule.Probability:
			continue
		}
		rule.fired++
		fault := rule.Fault
		return rule.Name, &fault
	}
	return "", nil
}
