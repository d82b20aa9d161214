package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// A file of dead letters that is sent again becomes a slice of its own: a later revision of the range that its records were read
// from. What that slice is to be is written beside the file before anything is sent, so that whoever comes after a crash asks the sink
// for that very slice. Only when it is committed does the file move to _delivered/; what couldn't be rebuilt stays in its place, and
// what the sink rejects again is a file of dead letters of the new slice.
const (
	deliveredFolder = "_delivered"
	plannedSuffix   = ".retry"
	leftSuffix      = ".left"
)

// The steps of a file that is sent again, beside those of a slice, in their order.
const (
	StepRetryPlan  Step = "retry_plan"  // before what the slice is to be is durable
	StepRetrySend  Step = "retry_send"  // after it
	StepRetryMove  Step = "retry_move"  // committed and recorded, before the file moves
	StepRetryLeave Step = "retry_leave" // moved, before what couldn't be sent takes its place
	StepRetryEnd   Step = "retry_end"   // before the plan goes
)

// RetriedFile is what became of one file of dead letters.
type RetriedFile struct {
	Sink      string
	Path      string // of the file that was sent again
	Slice     flow.Slice
	Records   uint64 // in the file
	Delivered uint64
	Rejected  uint64 // again, by the sink
	Left      uint64 // can't be sent again
	Why       string // of the last that was rejected or left
	Err       error
}

// retryPlan is what a file is to become, beside it.
type retryPlan struct {
	V       int        `json:"v"`
	Slice   flow.Slice `json:"slice"`
	Records uint64     `json:"records"`
	Left    []int      `json:"left,omitempty"` // lines that can't be sent, from 0
	Why     string     `json:"why,omitempty"`
	// Kept is the name below _delivered/ that the file moves to, its own if empty: what was left of a file has that file's name, which is
	// taken there.
	Kept string `json:"kept,omitempty"`
}

// RetryDead sends the dead letters of cfg's sinks again, file by file, and calls done for each. It starts no source; of cfg it needs
// Name, Streams with their schemas, Partitions, Sinks, Ledger, Log and the dead letters' bounds. An error is of the whole; what
// is wrong with one file is in its RetriedFile, and the others go on.
func RetryDead(ctx context.Context, cfg Config, done func(RetriedFile)) error {
	cfg.Parallel = max(cfg.Parallel, 1)
	r := newRun(cfg)
	defer r.close()
	for i := range r.cfg.Sinks {
		s := &r.cfg.Sinks[i]
		files, err := r.deadFiles(s)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			continue
		}
		if s.Sink == nil {
			if s.Sink, err = s.Open(ctx); err != nil {
				return err
			}
		}
		now := time.Now().UTC()
		if err := r.healSink(ctx, s, flow.Range{From: now, To: now.Add(time.Millisecond)}); err != nil {
			return err
		}
		r.sinks[i].ready, r.sinks[i].identity = true, s.Identity()
		if err := r.sweepDead(ctx, all); err != nil {
			return err
		}
		if files, err = r.deadFiles(s); err != nil { // some may have been published just now
			return err
		}
		for _, path := range files {
			one := r.retryFile(ctx, i, path)
			done(one)
			if ctx.Err() != nil {
				return fault.New(fault.Canceled, "retry", "", ctx.Err())
			}
		}
	}
	return nil
}

// deadFiles lists a sink's files of dead letters, in the order of their names, and those that only a plan is left of.
func (r *run) deadFiles(s *Sink) ([]string, error) {
	folder := filepath.Join(r.cfg.DeadPath, s.Name)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	var out []string
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), plannedSuffix); strings.HasSuffix(name, ".ndjson") {
			out = append(out, filepath.Join(folder, name))
		}
	}
	return slices.Compact(out), nil
}

func (r *run) retryFile(ctx context.Context, i int, path string) RetriedFile {
	out := RetriedFile{Sink: r.cfg.Sinks[i].Name, Path: path}
	out.Err = r.retry(ctx, i, path, &out)
	return out
}

func (r *run) retry(ctx context.Context, i int, path string, out *RetriedFile) error {
	plan, planned, err := readPlan(path)
	if err != nil {
		return err
	}
	if planned {
		out.Slice, out.Records, out.Left, out.Why = plan.Slice, plan.Records, uint64(len(plan.Left)), plan.Why
		receipt, ok, err := r.holds(ctx, i, plan.Slice)
		if err != nil {
			return err
		}
		if ok {
			return r.delivered(ctx, i, path, plan, receipt, out)
		}
	}
	letters, err := openLetters(path, r.rebuild)
	if err != nil {
		return err
	}
	defer letters.Close()
	out.Records = letters.count
	if !planned {
		out.Left, out.Why = uint64(len(letters.left)), letters.why
		if uint64(len(letters.left)) == letters.count {
			out.Slice = letters.origin
			return nil // nothing to send
		}
		slice, err := r.nextRevision(ctx, i, letters.origin, filepath.Base(path))
		if err != nil {
			return err
		}
		kept, err := r.freeKept(i, path)
		if err != nil {
			return err
		}
		plan = retryPlan{1, slice, letters.count, letters.left, letters.why, kept}
		out.Slice = slice
		r.step(StepRetryPlan)
		if err := writePlan(path, plan); err != nil {
			return err
		}
	}
	r.step(StepRetrySend)
	letters.begin(plan.Slice, plan.Left)
	letters.sums = r.stream(plan.Slice.Partition).sum
	receipt, sent, err := r.send(ctx, i, letters, plan.Slice, out)
	if err != nil || !sent {
		if errors.Is(err, sinks.ErrOverlap) || err == nil { // another revision took its place, or all was rejected again
			err = errors.Join(err, removeDurably(path+plannedSuffix))
		}
		return err
	}
	return r.delivered(ctx, i, path, plan, receipt, out)
}

// holds asks whether a sink has a slice already: the sink itself, or the ledger for one that keeps no account.
func (r *run) holds(ctx context.Context, i int, s flow.Slice) (sinks.Receipt, bool, error) {
	return r.holdsAs(ctx, i, r.identity(i), s)
}

// holdsAs is holds for the identity that the sink had when it may have been given the slice.
func (r *run) holdsAs(ctx context.Context, i int, identity string, s flow.Slice) (sinks.Receipt, bool, error) {
	if memory, ok := r.cfg.Sinks[i].Sink.(sinks.Memory); ok {
		receipt, err := memory.Lookup(ctx, s)
		if errors.Is(err, sinks.ErrNotCommitted) {
			return receipt, false, nil
		}
		return receipt, err == nil, err
	}
	all, err := r.cfg.Ledger.Committed(ctx, identity, s.Partition)
	at := slices.IndexFunc(all, func(x sinks.Receipt) bool { return x.Slice.ID == s.ID })
	if err != nil || at < 0 {
		return sinks.Receipt{}, false, err
	}
	return all[at], true, nil
}

// nextRevision is the slice that adds to a covered range what was dead: its revision is one more than the highest that meets it. A file
// that no commit names is refused: what is in it was read again since, or is in another file.
func (r *run) nextRevision(ctx context.Context, i int, of flow.Slice, file string) (flow.Slice, error) {
	if r.cfg.Sinks[i].OneRun { // the ledger knows it by another name in each run
		return flow.NewSlice(of.Partition, of.From, of.To, of.Rev+1), nil
	}
	all, err := r.receiptsIn(ctx, i, of.Partition, of.Range())
	if err != nil {
		return flow.Slice{}, err
	}
	highest, covered, named := uint32(0), flow.Ranges(nil), false
	for _, x := range all {
		highest = max(highest, x.Slice.Rev)
		if x.Slice.Rev == 0 {
			covered = covered.Add(x.Slice.Range())
		}
		named = named || slashpath.Base(x.DeadLetters) == file
	}
	if !covered.Covers(of.Range()) {
		return flow.Slice{}, fault.New(fault.Config, "dead letters", "the next `sluice run` reads the range anew; remove the file then",
			fmt.Errorf("sink %s doesn't hold %s, which they were read from", r.cfg.Sinks[i].Name, of))
	}
	if !named {
		return flow.Slice{}, fault.New(fault.Config, "dead letters", "remove the file, or move it away: what is in it would be there twice",
			fmt.Errorf("no commit of sink %s that stands names it: it is a copy, or its range was forgotten and read again", r.cfg.Sinks[i].Name))
	}
	return flow.NewSlice(of.Partition, of.From, of.To, highest+1), nil
}

// receiptsIn returns what the ledger holds of a range in a sink.
func (r *run) receiptsIn(ctx context.Context, i int, p flow.Partition, of flow.Range) ([]sinks.Receipt, error) {
	if _, ok := r.cfg.Sinks[i].Sink.(sinks.Memory); ok {
		return r.cfg.Ledger.CommittedIn(ctx, r.identity(i), p, of)
	}
	all, err := r.cfg.Ledger.Committed(ctx, r.identity(i), p)
	return meeting(all, of), err
}

// send carries the letters into the sink as a slice. sent is false if the sink took none of them.
func (r *run) send(ctx context.Context, i int, letters *letters, s flow.Slice, out *RetriedFile) (receipt sinks.Receipt, sent bool, err error) {
	w := &work{slice: s, part: &partition{Partition: Partition{Partition: s.Partition}}, sinks: setOf(i)}
	legs := r.begin(ctx, w, []int{i}, letters)
	l := legs[0]
	defer r.abandon(ctx, legs)
	if l.err != nil {
		return receipt, false, l.err
	}
	manifest, err := r.pump(ctx, w, letters, legs)
	if l.err != nil { // the sink's own error says more than that none is left
		return receipt, false, l.err
	}
	if err != nil {
		return receipt, false, err
	}
	out.Rejected = l.deadSum.Rows
	if l.dead != nil {
		out.Why = l.dead.why
	}
	if l.delivered.Rows == 0 {
		return receipt, false, nil
	}
	outcome := outcome{work: w, committed: map[int]sinks.Receipt{}, failed: map[int]error{}}
	r.commit(ctx, w, legs, manifest, &outcome)
	if err := outcome.failed[i]; err != nil {
		return receipt, false, err
	}
	return outcome.committed[i], true, nil
}

// delivered moves a file whose slice is committed. It may be called again after any of its steps.
func (r *run) delivered(ctx context.Context, i int, path string, plan retryPlan, receipt sinks.Receipt, out *RetriedFile) error {
	if err := r.cfg.Ledger.Record(context.WithoutCancel(ctx), r.identity(i), receipt); err != nil {
		return err
	}
	out.Delivered, out.Rejected = receipt.Delivered.Rows, receipt.Dead.Rows
	r.step(StepRetryMove)
	kept := r.keptPath(i, path, plan.Kept)
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		if err := moveDelivered(path, kept, plan.Left); err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	r.step(StepRetryLeave)
	if len(plan.Left) > 0 {
		if err := os.Rename(path+leftSuffix, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dead letters: %w", err)
		}
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	r.step(StepRetryEnd)
	return removeDurably(path + plannedSuffix)
}

// keptPath is where a delivered file moves to.
func (r *run) keptPath(i int, path, name string) string {
	if name == "" {
		name = filepath.Base(path)
	}
	return filepath.Join(r.cfg.DeadPath, deliveredFolder, r.cfg.Sinks[i].Name, name)
}

// freeKept returns a name for a file where delivered ones are, empty if its own is free there.
func (r *run) freeKept(i int, path string) (string, error) {
	name := ""
	for n := 2; ; n++ {
		_, err := os.Lstat(r.keptPath(i, path, name))
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", fmt.Errorf("dead letters: %w", err)
		}
		name = fmt.Sprintf("%s.%d.ndjson", strings.TrimSuffix(filepath.Base(path), ".ndjson"), n)
	}
}

// moveDelivered puts what is left of a file beside it and then the file where delivered ones are.
func moveDelivered(path, kept string, left []int) error {
	if len(left) > 0 {
		if err := copyLines(path, path+leftSuffix, left); err != nil {
			return err
		}
	}
	if err := makeFolder(filepath.Dir(kept), syncFolder); err != nil {
		return err
	}
	if err := os.Rename(path, kept); err != nil {
		return err
	}
	return errors.Join(syncFolder(filepath.Dir(kept)), syncFolder(filepath.Dir(filepath.Dir(kept))), syncFolder(filepath.Dir(path)))
}

func readPlan(path string) (plan retryPlan, ok bool, err error) {
	text, err := os.ReadFile(path + plannedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return plan, false, nil
	}
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(text))
		err = dec.Decode(&plan)
	}
	if err != nil {
		return plan, false, fault.New(fault.Config, "dead letters", "look at the file; what it says was sent may be in the sink",
			fmt.Errorf("%s: %w", path+plannedSuffix, err))
	}
	return plan, true, nil
}

// writePlan makes a plan durable in one step.
func writePlan(path string, plan retryPlan) error {
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	part := path + plannedSuffix + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dead letters: %w", err)
	}
	err = writeSynced(part, append(text, '\n'))
	if err == nil {
		err = os.Rename(part, path+plannedSuffix)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fault.New(fault.Config, "dead letters", "check dead_letter.path: the folder must be writable and have room", err)
	}
	return nil
}

func removeDurably(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dead letters: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}
