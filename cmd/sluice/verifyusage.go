package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/reconcile"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// usageLine is a line of `verify --json`: a log in a sink, held against what the vendor says of its days.
type usageLine struct {
	V         int            `json:"v"`
	TS        string         `json:"ts"`
	Event     string         `json:"event"` // "usage_compared"
	Pipeline  string         `json:"pipeline"`
	Sink      string         `json:"sink"`
	Stream    string         `json:"stream"`
	Partition string         `json:"partition"`
	Unit      reconcile.Unit `json:"unit"`
	Ratio     float64        `json:"ratio,omitempty"` // the vendor's figure by what was delivered; left out: too few full days
	Overhead  int64          `json:"overhead,omitempty"`
	RatioDays int            `json:"ratio_days"`
	Tolerance float64        `json:"tolerance,omitempty"`
	Agree     int            `json:"agree"`
	Flagged   int            `json:"flagged"`
	Unjudged  map[string]int `json:"unjudged,omitempty"` // days by why they aren't
	Days      []usageDay     `json:"days"`

	trifles int
}

// usageDay is a day of a usageLine.
type usageDay struct {
	Day       string            `json:"day"`
	Verdict   reconcile.Verdict `json:"verdict"`
	Figure    int64             `json:"figure"`
	Delivered int64             `json:"delivered"`
	Ratio     float64           `json:"ratio,omitempty"`
	Expected  *int64            `json:"expected,omitempty"` // what should have been delivered by the figure
	Sampled   string            `json:"sampled"`
}

// usage holds the days of a sink's logs against the vendor's figures. It reads the ledger alone, so it holds for sinks that can't be read
// back too. A flagged day is a finding.
func (v *verification) usage(ctx context.Context, p *config.Pipeline, s config.Sink) error {
	if v.ledger == nil {
		return nil
	}
	info, known, err := knownSink(ctx, v.ledger, v.config, p, s)
	if err != nil || !known {
		return err
	}
	partitions, err := v.ledger.Partitions(ctx, info.Identity)
	if err != nil {
		return err
	}
	for _, part := range partitions {
		if !chosen(v.sel.streams, part.Stream) {
			continue
		}
		r, err := v.reconcile(ctx, info.Identity, part)
		if err != nil {
			return err
		}
		line := usageOf(r)
		if len(line.Days) == 0 {
			continue
		}
		line.Pipeline, line.Sink, line.Stream, line.Partition = p.Name, s.Name, part.Stream, part.Key
		for _, j := range r.Flagged() {
			v.findings++
			if err := v.printDay(line, part, j); err != nil {
				return err
			}
		}
		v.usages = append(v.usages, line)
		if v.json {
			line.TS = stamp(time.Now())
			v.printJSON(line)
		}
	}
	return nil
}

// reconcile judges a partition by all that is known of it; only the days that the flags choose are in the result.
func (v *verification) reconcile(ctx context.Context, sink string, p flow.Partition) (reconcile.Result, error) {
	receipts, err := v.ledger.Committed(ctx, sink, p)
	if err != nil {
		return reconcile.Result{}, err
	}
	covered, err := v.ledger.Coverage(ctx, sink, p)
	if err != nil {
		return reconcile.Result{}, err
	}
	all := flow.Range{From: time.Unix(0, 0).UTC(), To: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
	measures, err := v.ledger.Measures(ctx, p, all)
	if err != nil || len(measures) == 0 {
		return reconcile.Result{}, err
	}
	known, err := reconcile.Known(ctx, v.ledger, sink, p, all)
	if err != nil {
		return reconcile.Result{}, err
	}
	r := reconcile.Judge(reconcile.Days(reconcile.Entries(receipts, reconcile.Late(receipts, known)), covered, measures))
	if !v.asked.Empty() {
		r.Judged = slices.DeleteFunc(r.Judged, func(j reconcile.Judged) bool {
			return !v.asked.Meets(flow.Range{From: j.Day.Day, To: j.Day.Day.AddDate(0, 0, 1)})
		})
	}
	return r, nil
}

func usageOf(r reconcile.Result) usageLine {
	line := usageLine{
		V: 1, Event: "usage_compared", Unit: r.Unit, Ratio: r.Ratio, Overhead: r.Overhead, RatioDays: r.Days, Tolerance: r.Tolerance,
		Agree: r.Count(reconcile.Agrees), Flagged: len(r.Flagged()), Unjudged: map[string]int{},
	}
	for _, j := range r.Judged {
		if j.Verdict == reconcile.NoFigure {
			continue
		}
		figure, had := r.Unit.Of(j)
		d := usageDay{
			Day: j.Day.Day.Format(time.DateOnly), Verdict: j.Verdict, Figure: figure, Delivered: had, Ratio: j.Ratio, Sampled: stamp(j.Figure.At),
		}
		if j.Expected >= 0 {
			d.Expected = &j.Expected
		}
		line.Days = append(line.Days, d)
		switch {
		case j.Verdict == reconcile.Trifle:
			line.trifles++
		case j.Verdict != reconcile.Agrees && !j.Verdict.Flagged():
			line.Unjudged[string(j.Verdict)]++
		}
	}
	return line
}

// printDay tells of a flagged day.
func (v *verification) printDay(l usageLine, p flow.Partition, j reconcile.Judged) error {
	day := flow.Range{From: j.Day.Day, To: j.Day.Day.AddDate(0, 0, 1)}
	figure, had := l.Unit.Of(j)
	what := fmt.Sprintf("the vendor says %s %s, %s were delivered", grouped(uint64(figure)), l.Unit, grouped(uint64(had)))
	switch {
	case had == 0:
		what = fmt.Sprintf("the day is covered with no record, and the vendor says %s %s", grouped(uint64(figure)), l.Unit)
	case l.Unit == reconcile.Bytes:
		what += fmt.Sprintf(": a ratio of %.4f where the log's is %.4f (%d full days%s, tolerance %.1f %%), by which %s should have been",
			j.Ratio, l.Ratio, l.RatioDays, reconcile.OverheadWords(l.Overhead), 100*l.Tolerance, grouped(uint64(max(0, j.Expected))))
	}
	hint := "records may have been indexed late, or an answer ended early: `sluice run --recheck` reads it again and adds what is new; `sluice verify --drift` says what differs"
	if j.Verdict == reconcile.Over {
		hint = "`sluice verify --drift` downloads the day again and says what differs: records may be there twice, or the vendor has dropped some since"
	}
	line := findingLine{
		V: 1, TS: stamp(time.Now()), Event: "finding", Pipeline: l.Pipeline, Sink: l.Sink, Stream: p.Stream, Partition: p.Key,
		From: day.From.Format(flow.Layout), To: day.To.Format(flow.Layout),
	}
	line.Kind, line.What, line.Hint = sinks.FindingKind("usage_"+string(j.Verdict)), what, hint
	line.Path = strings.TrimSuffix(p.Stream+"/"+p.Key, "/") + " " + j.Day.Day.Format(time.DateOnly)
	if v.json {
		v.printJSON(line)
		return nil
	}
	return v.printText(fmt.Sprintf("%s/%s: %s: %s\n  %s\n  %s\n", l.Pipeline, l.Sink, line.Kind, line.Path, what, hint))
}

// printUsages prints the table of what was held against the vendor's figures, and what the figures in it don't say.
func (v *verification) printUsages() error {
	if len(v.usages) == 0 {
		return nil
	}
	rows := [][]string{{"LOG", "IN", "VENDOR SAYS", "RATIO", "BY", "AGREE", "FLAGGED", "NOT JUDGED"}}
	for _, l := range v.usages {
		ratio, by := "-", counted(uint64(l.RatioDays), "full day")
		switch {
		case l.Unit == reconcile.Rows:
			ratio, by = "1", "counts"
		case l.Ratio > 0:
			ratio = fmt.Sprintf("%.4f", l.Ratio)
			by += fmt.Sprintf(", ±%.1f %%", 100*l.Tolerance)
		}
		unjudged := 0
		for _, n := range l.Unjudged {
			unjudged += n
		}
		rows = append(rows, []string{
			strings.TrimSuffix(l.Stream+"/"+l.Partition, "/"), l.Pipeline + "/" + l.Sink, string(l.Unit), ratio, by,
			fmt.Sprint(l.Agree), fmt.Sprint(l.Flagged), fmt.Sprint(unjudged),
		})
	}
	if err := v.printText("\n"); err != nil {
		return err
	}
	if err := v.printTable(rows); err != nil {
		return err
	}
	for _, l := range v.usages {
		name := fmt.Sprintf("%s/%s: %s", l.Pipeline, l.Sink, strings.TrimSuffix(l.Stream+"/"+l.Partition, "/"))
		if n := l.Unjudged[string(reconcile.Unratioed)]; n > 0 {
			v.say("%s: %s can't be judged: the log's ratio is known after %d full days, and there are %d", name, counted(uint64(n), "day"), reconcile.MinDays, l.RatioDays)
		}
		if l.trifles > 0 {
			v.log.logger.Warn("days without a record of which the vendor says that there were a few bytes", "log", name, "days", l.trifles)
		}
	}
	return nil
}
