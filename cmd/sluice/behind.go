package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

// A partition is behind by how long its oldest missing instant could have been read already: a record of an ordinary stream from its own
// time on, a figure of a day once the day is over and has settled, a snapshot from the first millisecond of its day, each by the vendor's
// clock minus lag. A hole in the middle counts as much as an end that is far back. What is unavailable doesn't count.

// judge fills in how far behind a partition is. held is what the sink has of it or nobody can have, inside what is asked and out of it.
func (r *reading) judge(p *partitionStatus, stream pipeline.Stream, missing, held flow.Ranges) {
	if len(missing) == 0 {
		return
	}
	p.firstMissing = missing[0].From
	if r.pipeline.Range.Last > 0 && p.firstMissing.Equal(p.want[0].From) {
		// The range moves on by itself: the hole at its beginning is older than the range is long.
		for _, h := range held {
			if !h.To.After(p.firstMissing) {
				p.firstMissing = h.To
			}
		}
	}
	p.Since = p.firstMissing.Format(flow.Layout)
	p.Behind = late(stream, p.firstMissing, r.horizon).Seconds()
}

// late is for how long an instant could have been read already.
func late(stream pipeline.Stream, at, horizon time.Time) time.Duration {
	day := flow.Day(at)
	switch g := stream.Granularity; {
	case stream.Snapshot && at.Equal(day):
		at = day.Add(time.Millisecond)
	case stream.Snapshot: // the day's was taken: the next one is meant
		at = day.Add(24*time.Hour + time.Millisecond)
	case g > 0:
		at = day.Add(at.Sub(day).Truncate(g) + g)
	}
	return max(0, horizon.Sub(at.Add(stream.Settle)))
}

// sumBehind takes the most of the partitions for the sinks and of those for the pipeline.
func (s *pipelineStatus) sumBehind(r *reading) {
	for i := range s.Sinks {
		k := &s.Sinks[i]
		if !k.Remembers {
			continue
		}
		k.unknown = r.unknown(k)
		most := 0.0
		for _, p := range slices.Concat(k.Partitions, k.unknown) {
			most = max(most, p.Behind)
		}
		k.Behind = &most
		if s.Behind == nil || most > *s.Behind {
			s.Behind = &most
		}
	}
}

// unknown stands for the partitions of streams that the pipeline never asked for yet: nobody has told which there are, and it lacks
// all of them.
func (r *reading) unknown(k *sinkStatus) (out []partitionStatus) {
	for _, name := range k.streams {
		if slices.ContainsFunc(k.Partitions, func(p partitionStatus) bool { return p.Stream == name && !p.Dropped }) {
			continue
		}
		stream := r.streams[name]
		p := partitionStatus{Stream: name, want: stream.Asks(r.asked, r.horizon)}
		r.judge(&p, stream, p.want, nil)
		out = append(out, p)
	}
	return out
}

// behindLine names a log that is further behind than was asked for: a line of `status --behind --json`.
type behindLine struct {
	V         int     `json:"v"`
	TS        string  `json:"ts"`
	Event     string  `json:"event"` // "behind"
	Pipeline  string  `json:"pipeline"`
	Sink      string  `json:"sink"`
	Stream    string  `json:"stream,omitempty"`
	Partition string  `json:"partition,omitempty"`
	Name      string  `json:"name,omitempty"`
	Behind    float64 `json:"behind_seconds"`
	Limit     float64 `json:"limit_seconds"`
	Since     string  `json:"first_missing"`
	Started   bool    `json:"started"`         // false: no run has asked for the stream yet, as far as the ledger knows
	Error     string  `json:"error,omitempty"` // of a slice at that instant
	Hint      string  `json:"hint,omitempty"`
}

// judgeBehind names the logs that are further behind than limit; the exit code says whether there are any.
func (a *app) judgeBehind(all []pipelineStatus, limit time.Duration) {
	n := 0
	for i := range all {
		judged := false
		for _, line := range all[i].furtherBehind(limit, &judged) {
			n++
			a.exit = exitFailed
			a.printBehind(line)
		}
		if !judged {
			a.log.logger.Warn(all[i].Pipeline + ": its sinks remember what they were given for one run only: nobody can say how far behind they are")
		}
	}
	if n == 0 && !a.json && !a.quiet {
		_ = a.printText(fmt.Sprintf("nothing is further behind than %s\n", shortDuration(limit)))
	}
}

// furtherBehind lists what of a pipeline is further behind than limit, sinks and partitions in their order.
func (s *pipelineStatus) furtherBehind(limit time.Duration, judged *bool) (out []behindLine) {
	for _, k := range s.Sinks {
		if k.Behind == nil {
			continue
		}
		*judged = true
		for n, p := range slices.Concat(k.Partitions, k.unknown) {
			if p.Behind <= limit.Seconds() {
				continue
			}
			line := behindLine{
				V: 1, TS: stamp(time.Now()), Event: "behind", Pipeline: s.Pipeline, Sink: k.Name, Stream: p.Stream, Partition: p.Partition,
				Name: p.Name, Behind: p.Behind, Limit: limit.Seconds(), Since: p.Since, Started: n < len(k.Partitions),
			}
			if len(p.Failures) > 0 {
				line.Error, line.Hint = p.Failures[0].Error, p.Failures[0].Hint
			}
			out = append(out, line)
		}
	}
	return out
}

func (a *app) printBehind(l behindLine) {
	if a.json {
		a.printJSON(l)
		return
	}
	log := l.Stream
	if l.Partition != "" {
		log += "/" + l.Partition
	}
	if l.Name != "" && l.Name != l.Partition {
		log += " (" + l.Name + ")"
	}
	text := fmt.Sprintf("%s: sink %s: %s is behind by %s, missing from %s on", l.Pipeline, l.Sink, printable(log), ago(seconds(l.Behind)), l.Since)
	if !l.Started {
		text = fmt.Sprintf("%s: sink %s: %s is behind by %s: nothing has run yet", l.Pipeline, l.Sink, log, ago(seconds(l.Behind)))
	}
	if l.Error != "" {
		text += ": " + l.Error
	}
	if l.Hint != "" {
		text += "\n  " + l.Hint
	}
	_ = a.printText(text + "\n")
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// ago writes an age with its two largest units.
func ago(d time.Duration) string {
	d = d.Truncate(time.Second)
	days, hours, minutes, rest := d/(24*time.Hour), d%(24*time.Hour)/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%02ds", minutes, rest)
	}
	return fmt.Sprintf("%ds", rest)
}
