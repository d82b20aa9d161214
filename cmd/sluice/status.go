package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

// statusFlags are the flags of status.
type statusFlags struct {
	behind  config.Duration
	judge   bool // --behind was given
	all     bool
	metrics string
}

func (a *app) statusCommand() *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status [PIPELINE...]",
		Short: "Show what is covered, what is missing and what runs",
		Long: "status reads the ledger, beside a run or without one, and asks a running host what it does: what each slice waits for,\n" +
			"its last byte, its next try, and how the budget stands. It starts no plugin and asks no vendor: without `to` the range\n" +
			"ends at the vendor's clock minus lag, as the running host or the last run knows it.\n\n" +
			"A log is behind by how long its oldest missing instant could have been read already. With --behind only the logs are\n" +
			"named that are further behind than that, and the exit code is 1 if there is one, or if nothing has run yet.",
		Example: "  sluice status\n  sluice status prod --json\n  sluice status --behind 26h",
		RunE: func(c *cobra.Command, args []string) error {
			f.judge = c.Flags().Changed("behind")
			return interruptible(c, func(ctx context.Context) error { return a.status(ctx, args, f) })
		},
	}
	c.Flags().Var(&f.behind, "behind", "name the logs that are further behind than this, and exit with 1 if there are any")
	c.Flags().BoolVar(&f.all, "all", false, "draw every log, also those that look alike")
	c.Flags().StringVar(&f.metrics, "metrics-file", "", "write Prometheus text to this file as well")
	return c
}

// pipelineStatus is a line of `status --json`.
type pipelineStatus struct {
	V        int          `json:"v"`
	TS       string       `json:"ts"`
	Event    string       `json:"event"` // "pipeline_status"
	Pipeline string       `json:"pipeline"`
	Source   string       `json:"source"`
	From     string       `json:"from,omitempty"` // of the asked range
	To       string       `json:"to,omitempty"`
	Sinks    []sinkStatus `json:"sinks"`
	LastRun  *lastRun     `json:"last_run,omitempty"`
	Now      string       `json:"now"`   // by which the range ends and what is behind is judged
	Clock    string       `json:"clock"` // whose it is: clockVendor, clockCorrected or clockHost
	Lag      float64      `json:"lag_seconds"`
	Started  bool         `json:"started"`                  // the ledger knows of a run that asked for something, or holds what one committed
	Behind   *float64     `json:"behind_seconds,omitempty"` // the most of its sinks; left out if none can be judged
	Late     *lateStatus  `json:"late,omitempty"`

	asked   flow.Range
	streams map[string]pipeline.Stream
	running bool // a run of it goes on
	open    bool // the range ends at the horizon
	horizon time.Time
	last    time.Duration // that the range is long, which moves on by itself
	offset  time.Duration // of the vendor's clock from this machine's
}

type sinkStatus struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Location    string            `json:"location,omitempty"`
	Remembers   bool              `json:"remembers"` // false: what it was given lasts for one run
	Known       bool              `json:"known"`     // the ledger has rows of it
	Partitions  []partitionStatus `json:"partitions"`
	Asked       int64             `json:"asked"` // milliseconds of log time, as those that follow
	Covered     int64             `json:"covered"`
	Missing     int64             `json:"missing"`
	Unavailable int64             `json:"unavailable"`
	Behind      *float64          `json:"behind_seconds,omitempty"` // the most of its partitions; left out if it remembers nothing

	identity string
	streams  []string          // that it takes
	unknown  []partitionStatus // for streams that were never asked for
}

type partitionStatus struct {
	Stream      string              `json:"stream"`
	Partition   string              `json:"partition"`
	Asked       int64               `json:"asked"`
	Covered     int64               `json:"covered"`
	Missing     int64               `json:"missing"`
	Unavailable int64               `json:"unavailable"`
	Gaps        []rangeStatus       `json:"gaps,omitempty"`
	Gone        []unavailableStatus `json:"gone,omitempty"`
	Failures    []failureStatus     `json:"failures,omitempty"`
	Slices      uint64              `json:"slices"`
	Rows        uint64              `json:"rows"`
	Bytes       uint64              `json:"bytes"`
	Dead        uint64              `json:"dead"`
	LastCommit  string              `json:"last_commit,omitempty"`
	Name        string              `json:"name,omitempty"`          // what people call it
	Dropped     bool                `json:"no_longer_asked"`         // the last start didn't ask for it: it counts nowhere
	Behind      float64             `json:"behind_seconds"`          // how long the oldest missing instant could have been read already
	Since       string              `json:"first_missing,omitempty"` // that instant
	Committed   []rangeStatus       `json:"committed,omitempty"`
	Planned     []plannedStatus     `json:"planned,omitempty"`
	Split       []rangeStatus       `json:"split,omitempty"`  // met the vendor's cap and were cut
	States      map[string]uint64   `json:"states,omitempty"` // slices by state

	want, covered, gone, failed, planned flow.Ranges
	firstMissing                         time.Time
	deadTotal                            uint64
	lastCommit                           time.Time
}

type rangeStatus struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// plannedStatus is a slice that was planned or begun and hasn't failed.
type plannedStatus struct {
	rangeStatus
	Slice    string `json:"slice"`
	State    string `json:"state"` // "planned", "reading"
	Attempts uint32 `json:"attempts"`
}

type unavailableStatus struct {
	rangeStatus
	Reason string `json:"reason"`
}

type failureStatus struct {
	rangeStatus
	Slice       string `json:"slice"`
	Quarantined bool   `json:"quarantined"`
	Attempts    uint32 `json:"attempts"`
	Kind        string `json:"kind"`
	Error       string `json:"error"`
	Hint        string `json:"hint,omitempty"`
}

type lastRun struct {
	Start   string          `json:"start"`
	End     string          `json:"end"`
	Exit    int             `json:"exit"`
	Summary json.RawMessage `json:"summary"`
}

// hostStatus is the last line of `status --json`.
type hostStatus struct {
	V       int               `json:"v"`
	TS      string            `json:"ts"`
	Event   string            `json:"event"` // "host_status"
	State   string            `json:"state"`
	Running bool              `json:"running"`
	Host    *control.Snapshot `json:"host,omitempty"`
}

func rangeOf(r flow.Range) rangeStatus {
	return rangeStatus{r.From.Format(flow.Layout), r.To.Format(flow.Layout)}
}

func (a *app) status(ctx context.Context, names []string, f statusFlags) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	chosen, err := choosePipelines(c, names)
	if err != nil {
		return usageError(err)
	}
	if f.metrics != "" {
		if err := metricsWritable(f.metrics); err != nil {
			return err
		}
	}
	snapshot, err := control.Query(ctx, c.State)
	running := err == nil
	if err != nil && !errors.Is(err, control.ErrNotRunning) {
		a.log.logger.Warn("the running host doesn't answer", "error", err.Error())
	}
	l, err := ledger.OpenReadOnly(ctx, c.State)
	if err != nil && !errors.Is(err, ledger.ErrNoLedger) {
		return &exitError{codeOf(err), err}
	}
	if l != nil {
		defer l.Close()
	}
	var all []pipelineStatus
	for _, p := range chosen {
		s, err := readStatus(ctx, l, c, p, snapshot, time.Now())
		if err != nil {
			return failedError(fmt.Errorf("%s: %w", p.Name, err))
		}
		if l != nil || a.json {
			a.printStatus(s, p.DeadLetter.Path, f)
		}
		all = append(all, s)
	}
	if f.judge {
		a.judgeBehind(all, time.Duration(f.behind))
	}
	if f.metrics != "" {
		if err := a.writeStatusMetrics(ctx, f.metrics, l, all, snapshot); err != nil {
			return failedError(err)
		}
	}
	switch {
	case a.json || !f.judge && (l != nil || running):
		a.printHost(c, running, snapshot)
	case !f.judge:
		return a.printText(fmt.Sprintf("nothing has run yet: there is no ledger in %s\n`sluice run` makes one\n", c.State))
	}
	return nil
}
