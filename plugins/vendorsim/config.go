package vendorsim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DemoKey is the API key that is accepted when Options names none. It opens nothing but a simulator.
const DemoKey = "5ca1ab1e-0000-4000-8000-000000000001"

// The vendor's documented limits.
const (
	DefaultMaxLines   = 20_000_000     // lines of one download
	DefaultRequests   = 150            // downloads per window
	DefaultBytes      = 75_000_000_000 // downloaded bytes per window
	DefaultManagement = 1500           // management requests per window
	DefaultWindow     = 15 * time.Minute
	maxLogsPerRequest = 10
	maxURLBytes       = 8192
)

// Forms of the Retry-After header of a 429.
const (
	RetrySeconds = "seconds" // the default: seconds from now, rounded up
	RetryDate    = "date"    // an HTTP date by the vendor's clock
	RetryNone    = "none"    // no such header
)

// Forms of the X-RateLimit-Reset header.
const (
	ResetSeconds = "seconds" // the default: seconds from now, rounded up
	ResetEpoch   = "epoch"   // seconds since 1970 by the vendor's clock
)

// Options says what a simulator serves and how. The zero value serves no logs to [DemoKey] with the documented
// limits.
type Options struct {
	Keys         []string // accepted API keys; none: DemoKey
	ReadOnlyKeys []string // keys that may list logs but not download nor read usage (403)
	Logs         []Log
	Logsets      []Logset
	Labels       []Label
	SavedQueries []SavedQuery
	Owner        Owner

	Download   Budget // zero fields: 150 requests and 75 GB per 15 minutes
	Management Budget // zero fields: 1,500 requests per 15 minutes; Bytes isn't used

	Queries Budget // zero fields: 1,500 started queries per 15 minutes
	Polls   Budget // zero fields: 10,000 polls per 15 minutes

	Clock    *Clock        // nil: the host's time
	IndexLag time.Duration // a record is served only once it is this old
	Late     Late          // records that are indexed later than that

	MaxLines       int64  // highest and default limit of a download; 0: 20 million
	DefaultQuery   string // what a missing query means; "": where(error)
	ToInclusive    bool   // records of the millisecond `to` are served too
	WrongKeyStatus int    // 404 (the default) or 401
	RetryAfter     string // RetrySeconds (the default), RetryDate or RetryNone
	Reset          string // ResetSeconds (the default) or ResetEpoch
	Gzip           bool   // compress for clients that accept it
	NoDate         bool   // answer without a Date header

	Query QueryOptions

	Usage UsageOptions

	Elsa Elsa

	Faults Script

	TLS             *tls.Config // for Start: serve https with this certificate
	ChunkBytes      int         // size of a chunk of a download; 0: 256 KiB
	SendBufferBytes int         // for Start: the socket's send buffer, small to see a paused reader soon; 0: the system's

	RequestLog int           // how many finished requests Requests keeps; 0: 100,000
	Observe    func(Request) // called after each request, from many goroutines; nil: not
}

// Budget limits one namespace of the API for each key.
type Budget struct {
	Requests int64
	Bytes    int64
	Window   time.Duration
	Fixed    bool // windows that start at multiples of Window on the monotonic clock, instead of a sliding one
}

func (b *Budget) setDefaults(requests, bytes int64) {
	if b.Requests == 0 {
		b.Requests = requests
	}
	if b.Bytes == 0 {
		b.Bytes = bytes
	}
	if b.Window == 0 {
		b.Window = DefaultWindow
	}
}

func (o *Options) setDefaults() {
	if len(o.Keys) == 0 && len(o.ReadOnlyKeys) == 0 {
		o.Keys = []string{DemoKey}
	}
	o.Download.setDefaults(DefaultRequests, DefaultBytes)
	o.Management.setDefaults(DefaultManagement, 1<<62)
	o.Queries.setDefaults(DefaultQueries, 1<<62)
	o.Polls.setDefaults(DefaultPolls, 1<<62)
	o.Usage.setDefaults()
	o.Late.setDefaults()
	o.Elsa.setDefaults()
	if o.Clock == nil {
		o.Clock = NewClock(0)
	}
	if o.MaxLines == 0 {
		o.MaxLines = DefaultMaxLines
	}
	if o.DefaultQuery == "" {
		o.DefaultQuery = "where(error)"
	}
	if o.WrongKeyStatus == 0 {
		o.WrongKeyStatus = 404
	}
	if o.RetryAfter == "" {
		o.RetryAfter = RetrySeconds
	}
	if o.Reset == "" {
		o.Reset = ResetSeconds
	}
	if o.ChunkBytes == 0 {
		o.ChunkBytes = 256 << 10
	}
	if o.RequestLog == 0 {
		o.RequestLog = 100_000
	}
}

// validate reports all problems, each with the field it is about.
func (o *Options) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{field}, args...)...))
	}
	for _, b := range []struct {
		name string
		Budget
	}{{"Download", o.Download}, {"Management", o.Management}, {"Queries", o.Queries}, {"Polls", o.Polls}} {
		if b.Requests < 0 || b.Bytes < 0 || b.Window < 0 {
			bad(b.name, "requests, bytes and window must not be negative")
		}
	}
	if slices.Contains(o.Keys, "") || slices.Contains(o.ReadOnlyKeys, "") {
		bad("Keys", "an empty key can't be told from a request without one")
	}
	if o.IndexLag < 0 {
		bad("IndexLag", "must not be negative")
	}
	if o.MaxLines < 0 {
		bad("MaxLines", "must not be negative")
	}
	if _, err := parseLEQL(o.DefaultQuery); err != nil {
		bad("DefaultQuery", "%w", err)
	}
	if o.WrongKeyStatus != 401 && o.WrongKeyStatus != 404 {
		bad("WrongKeyStatus", "want 401 or 404, got %d", o.WrongKeyStatus)
	}
	if !slices.Contains([]string{RetrySeconds, RetryDate, RetryNone}, o.RetryAfter) {
		bad("RetryAfter", "want seconds, date or none, got %q", o.RetryAfter)
	}
	if !slices.Contains([]string{ResetSeconds, ResetEpoch}, o.Reset) {
		bad("Reset", "want seconds or epoch, got %q", o.Reset)
	}
	if o.ChunkBytes < 0 || o.SendBufferBytes < 0 || o.RequestLog < 0 {
		bad("ChunkBytes, SendBufferBytes, RequestLog", "must not be negative")
	}
	if !slices.Contains([]string{"", "number", "bare", "none"}, o.Query.Sequence) {
		bad("Query.Sequence", "want number, bare or none, got %q", o.Query.Sequence)
	}
	o.Usage.validate(bad)
	o.Late.validate(bad)
	o.Elsa.validate(bad)
	if err := o.Faults.Validate(); err != nil {
		bad("Faults", "%w", err)
	}
	seen := make(map[string]bool)
	for i := range o.Logs {
		id := strings.ToLower(o.Logs[i].ID)
		if seen[id] {
			bad("Logs", "two logs with the ID %s", id)
		}
		seen[id] = true
	}
	return errors.Join(errs...)
}
