package budget

import (
	"errors"
	"time"
)

// DefaultShare is the part of a vendor's limits that is used where a Request doesn't say.
const DefaultShare = 0.9

// ErrUnknownReservation says that a reservation was never made, or ended so long ago that it counts no more.
var ErrUnknownReservation = errors.New("unknown reservation")

// Request asks for a reservation, or for more bytes of one.
type Request struct {
	Owner     string // whose end frees what it holds: one plugin process
	Key       string // 16 hex digits that name the vendor's key, never the key
	Namespace string // "download", "query"

	LimitRequests uint64        // that the vendor allows in a window; 0: not limited
	LimitBytes    uint64        // the same in bytes
	Window        time.Duration // must be positive if there is a limit
	Share         float64       // of the limits, in (0, 1]; 0: DefaultShare

	Requests uint64 // how many requests will be sent, at least 1 for a new reservation; 0 to top up
	Bytes    uint64 // the block that is reserved

	Reservation string    // not empty: tops up the bytes of this reservation
	VendorTime  time.Time // the vendor's clock now; zero if it isn't known
}

// Grant is the answer to a Request.
type Grant struct {
	Granted     bool
	Reservation string
	RetryAfter  time.Duration // not granted: ask again after this long; enough will be free unless others take it
	Why         string        // not granted: "requests", "bytes" or "vendor"
}

// Reasons of a Grant that was refused.
const (
	WhyRequests = "requests" // our own count of requests
	WhyBytes    = "bytes"    // our own count of bytes
	WhyVendor   = "vendor"   // the vendor said so
)

// Settlement says what a reservation really cost and what the vendor said.
type Settlement struct {
	Reservation string
	Requests    uint64 // that were sent so far
	Bytes       uint64 // that have come so far
	Done        bool   // the last byte has come or the request has failed; false: the headers have come
	VendorTime  time.Time
	Vendor      Vendor
}

// Vendor is the vendor's own count; nil and zero fields weren't said.
type Vendor struct {
	LimitRequests, RemainingRequests *uint64
	LimitBytes, RemainingBytes       *uint64
	Reset                            time.Duration // until the remaining figures start anew
	RetryAfter                       time.Duration // nothing may be asked before
}

// Clock is the time of one boot: Now never jumps, counts suspension and starts anew when Boot changes.
type Clock interface {
	Boot() string
	Now() time.Duration
}

// NamespaceStatus is how one namespace of a key stands.
type NamespaceStatus struct {
	Key            string        `json:"key"`
	Namespace      string        `json:"namespace"`
	Window         time.Duration `json:"window_ns"`
	UsedRequests   uint64        `json:"used_requests"`
	LimitRequests  uint64        `json:"limit_requests"` // after share; 0: not limited
	UsedBytes      uint64        `json:"used_bytes"`
	LimitBytes     uint64        `json:"limit_bytes"`                         // after share; 0: not limited
	Open           int           `json:"open"`                                // reservations in use
	NextFree       time.Duration `json:"next_free_ns"`                        // until one request can be granted; 0: now
	Why            string        `json:"why,omitempty"`                       // if not now
	BlockedFor     time.Duration `json:"blocked_for_ns,omitempty"`            // by the vendor's Retry-After
	VendorRequests *uint64       `json:"vendor_remaining_requests,omitempty"` // what the vendor says remains, if that holds
	VendorBytes    *uint64       `json:"vendor_remaining_bytes,omitempty"`
}
