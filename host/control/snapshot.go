package control

import "time"

// Snapshot is what a host is doing at one moment. Times are UTC; the zero time means never or not known.
type Snapshot struct {
	PID       int        `json:"pid"`
	Version   string     `json:"version"`
	Started   time.Time  `json:"started"`
	At        time.Time  `json:"at"` // when the snapshot was made
	Pipelines []Pipeline `json:"pipelines"`
	Budgets   []Budget   `json:"budgets"`
}

// Pipeline is one pipeline of the host.
type Pipeline struct {
	Name   string  `json:"name"`
	State  string  `json:"state"` // "planning", "running", "draining", "idle", "stopped"
	Error  string  `json:"error,omitempty"`
	Slices []Slice `json:"slices"` // in flight, in time order
	Sinks  []Sink  `json:"sinks"`
	// VendorNow is the vendor's clock at the moment of the snapshot.
	VendorNow time.Time `json:"vendor_now,omitzero"`
	// Follow is nil for a pipeline that ends when all is covered.
	Follow *Follow `json:"follow,omitempty"`
	// Settle says by stream how much longer than the lag its ranges are left alone, in milliseconds; nil: not known yet.
	Settle map[string]int64 `json:"settle,omitzero"`
	// Forecast is what the run was expected to take when it began, and how it stands; nil: not known, or all is done.
	Forecast *Forecast `json:"forecast,omitempty"`
}

// Forecast is a run's, held against how it goes. Low and high are a range in which 8 of 10 such figures are expected to lie.
type Forecast struct {
	At         time.Time `json:"at"` // when the run began
	Finish     time.Time `json:"finish"`
	FinishLow  time.Time `json:"finish_low"`
	FinishHigh time.Time `json:"finish_high"`
	Requests   uint64    `json:"requests"`
	Bytes      *uint64   `json:"bytes"` // null: not known
	BytesSoFar uint64    `json:"bytes_so_far"`
	BytesDone  *float64  `json:"bytes_done"` // part of the forecast's bytes; null: not known
	LogDone    float64   `json:"log_time_done"`
	TimeDone   float64   `json:"time_done"`    // part of the forecast's time that has passed; more than 1: it is over
	Late       float64   `json:"late_seconds"` // behind where it should be by the forecast; less than 0: ahead
	Text       string    `json:"text"`         // all of it, for people
}

// Follow is how a pipeline stands that keeps going.
type Follow struct {
	Every  int64     `json:"every"`           // milliseconds
	Next   time.Time `json:"next,omitzero"`   // when new time is asked for
	To     time.Time `json:"to"`              // up to where time was asked for
	Behind int64     `json:"behind"`          // milliseconds from the earliest gap to the vendor's now minus lag; 0: without one
	Left   int64     `json:"left"`            // milliseconds of log time that are asked for and missing
	Error  string    `json:"error,omitempty"` // of asking for the vendor's time
}

// Sink is how a sink of a pipeline stands.
type Sink struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`          // "up", "opening", "down", "given up": not tried again in this run
	Since   time.Time `json:"since,omitzero"` // down since
	NextTry time.Time `json:"next_try,omitzero"`
	Left    int64     `json:"left"`            // milliseconds of log time that it lacks
	Error   string    `json:"error,omitempty"` // of the last try
}

// Slice is a slice in flight or about to be tried again.
type Slice struct {
	ID         string    `json:"id"`
	Pipeline   string    `json:"pipeline"`
	Source     string    `json:"source"`
	Stream     string    `json:"stream"`
	Partition  string    `json:"partition"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Attempt    uint32    `json:"attempt"`             // from 0
	State      string    `json:"state"`               // "waiting", "opening", "reading", "committing", "backoff"
	WaitsFor   string    `json:"waits_for,omitempty"` // "vendor", "budget until 14:15", "plugin", "sink lake"
	Rows       uint64    `json:"rows"`
	Bytes      uint64    `json:"bytes"`
	LastByte   time.Time `json:"last_byte,omitzero"`
	NextTry    time.Time `json:"next_try,omitzero"`
	CreditUsed int64     `json:"credit_used"`     // bytes in flight
	CreditSize int64     `json:"credit_size"`     // bytes that may be
	Sinks      []string  `json:"sinks"`           // those it is read for
	Error      string    `json:"error,omitempty"` // of the last attempt
}

// Budget is how one namespace of a vendor's key stands.
type Budget struct {
	Key           string        `json:"key"` // its hash
	Namespace     string        `json:"namespace"`
	Window        time.Duration `json:"window_ns"`
	UsedRequests  uint64        `json:"used_requests"`
	LimitRequests uint64        `json:"limit_requests"` // 0: not limited
	UsedBytes     uint64        `json:"used_bytes"`
	LimitBytes    uint64        `json:"limit_bytes"`
	NextFree      time.Time     `json:"next_free,omitzero"` // zero: now
	Why           string        `json:"why,omitempty"`
}
