package pipeline

import (
	"time"

	"github.com/sluice-io/sluice/proto/flow"
)

// Event is something that an operator may want to see. Fields that don't apply are zero.
type Event struct {
	Time     time.Time
	Kind     EventKind
	Pipeline string
	Slice    flow.Slice
	Name     string // the partition's name
	Sinks    []string
	Attempt  uint32
	Sum      flow.Sum
	Parts    []flow.Slice  // of a split
	Range    flow.Range    // of a window: what has closed since the one before
	Behind   time.Duration // of a window: how far the earliest gap begins before its end
	Until    time.Time     // of a wait
	Message  string
	Hint     string
	Err      error
	Counters map[string]uint64
}

// EventKind names an event as it stands in JSON lines.
type EventKind string

// The kinds of events.
const (
	Started     EventKind = "pipeline_started"
	Planned     EventKind = "slice_started"
	Committed   EventKind = "slice_committed"
	Found       EventKind = "slice_found"     // a sink already held it
	Rechecked   EventKind = "range_rechecked" // read again for late records: Sum is what was late
	Split       EventKind = "slice_split"
	Retry       EventKind = "slice_retry"
	Failed      EventKind = "slice_failed"
	Quarantined EventKind = "slice_quarantined"
	GivenUp     EventKind = "slice_replanned"
	Missing     EventKind = "range_unavailable"
	Stopped     EventKind = "partition_stopped"
	Waiting     EventKind = "waiting"
	Healed      EventKind = "ledger_healed"
	Draining    EventKind = "draining"
	Ended       EventKind = "pipeline_ended"
	Window      EventKind = "window" // a run that follows asks for what has closed
	SinkIsDown  EventKind = "sink_down"
	SinkIsUp    EventKind = "sink_up"
	SinkLost    EventKind = "sink_given_up" // not tried again in this run
)
