package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/sluice-io/sluice/host/reconcile"
)

// document is what a report says, as text and as HTML alike.
type document struct {
	Title    string
	Facts    []fact
	Sections []section
}

// fact is a name and what is so called.
type fact struct{ Name, Value string }

// section is a heading with what stands under it.
type section struct {
	Level int // 2 is a pipeline, 3 a sink, 4 what there is to say of its logs
	Title string
	Facts []fact
	Table *table
	Notes []string
}

// table has a heading for each column; one that begins with ">" is of numbers.
type table struct {
	Head []string
	Rows [][]string
	Foot []string // totals; nil: none
}

// document puts a report into words.
func (r *Report) document() document {
	over := "the month was over by then"
	if !r.Over {
		over = "the month was not over by then"
	}
	if r.AsOf == "" {
		over = "the ledger is empty"
	}
	d := document{
		Title: "Delivery report of " + r.Month,
		Facts: []fact{
			{"month", r.From + " to " + r.To + ", both UTC, the end not included"},
			{"as of", strings.TrimSpace(r.AsOf + " (the ledger's latest entry; " + over + ")")},
		},
	}
	if len(r.Pipelines) > 1 || len(r.Pipelines) == 1 && len(r.Pipelines[0].Sinks) > 1 {
		t := r.Totals
		d.Facts = append(d.Facts, fact{"in all", fmt.Sprintf("%s records, %s bytes, %s dead letters, %s hours missing, %s days to look at",
			grouped(t.Rows), grouped(t.Bytes), grouped(t.Dead), hours(t.Missing), grouped(uint64(t.Flagged)))})
	}
	for _, p := range r.Pipelines {
		d.Sections = append(d.Sections, p.section())
		for _, s := range p.Sinks {
			d.Sections = append(d.Sections, s.sections()...)
		}
	}
	d.Sections = append(d.Sections, section{Level: 2, Title: "How to read it", Notes: legend})
	return d
}

// legend explains the columns.
var legend = []string{
	"Hours are hours of log time. Covered is what the sink committed after the vendor's answer was proved complete; unavailable is what the vendor no longer has; missing is the rest of what was asked.",
	"Records and bytes are what was delivered, all revisions included; bytes are those of the records themselves. The digest is the sum of a 128-bit hash of each delivered record: it is the same in whatever order and slices the records came, and changes when one is lost, changed or there twice.",
	"Late are records that the vendor indexed after their range had been read; they were added as later revisions. Dead letters are records that could not be delivered and are kept with the reason.",
	"The vendor says what its usage figures (bytes, by its own accounting) or its counts (records) tell of the days that it tells of. The ratio is the vendor's figure by what was delivered: the median of the log's full days of the month. Where days of short and of long records only agree when the vendor counts some bytes for each record beside its own, those are told too. A day that is off by more than the tolerance is to be looked at.",
}

func (p *Pipeline) section() section {
	s := section{Level: 2, Title: "Pipeline " + p.Name, Facts: []fact{{"source", p.Source}}}
	for _, v := range p.Versions {
		s.Facts = append(s.Facts, fact{"versions", fmt.Sprintf("Sluice %s, source %s %s, since %s", v.Sluice, v.Source, v.SourceVersion, v.Since)})
	}
	if len(p.Versions) == 0 {
		s.Facts = append(s.Facts, fact{"versions", "not known: nothing of the month was committed, or the ledger was rebuilt"})
	}
	s.Facts = append(s.Facts, fact{"runs that ended in the month", fmt.Sprintf("%d, of which %d failed or were stopped", p.Runs.Ended, p.Runs.Failed)})
	return s
}

func (s *Sink) sections() []section {
	head := section{Level: 3, Title: "Sink " + s.Name, Facts: []fact{{"type", s.Type}, {"promise", s.Promise}}}
	for _, f := range []fact{{"identity", s.Identity}, {"location", s.Location}} {
		if f.Value != "" {
			head.Facts = append(head.Facts, f)
		}
	}
	switch {
	case !s.Known:
		head.Notes = []string{"The ledger knows nothing of this sink."}
		return []section{head}
	case len(s.Logs) == 0:
		head.Notes = []string{"Nothing of the month was asked for."}
		return []section{head}
	}
	head.Table = s.table()
	out := []section{head}
	for _, more := range []section{s.figures(), s.flagged(), s.unavailable(), s.missing(), s.failures()} {
		if more.Table != nil {
			out = append(out, more)
		}
	}
	return out
}

func (s *Sink) table() *table {
	t := &table{Head: []string{"log", ">hours covered", ">of asked", ">records", ">bytes", ">late", ">dead letters", "digest"}}
	for _, l := range s.Logs {
		covered, asked := hours(l.Covered), hours(l.Asked)
		if l.Snapshot {
			covered, asked = grouped(uint64(l.Covered))+" (snapshots)", grouped(uint64(l.Asked))
		}
		t.Rows = append(t.Rows, []string{
			s.title(&l), covered, asked, grouped(l.Rows), grouped(l.Bytes), grouped(l.Late.Rows), l.Dead.text(), l.Digest,
		})
	}
	if len(s.Logs) > 1 {
		a := s.Totals
		t.Foot = []string{
			fmt.Sprintf("%d logs", a.Logs), hours(a.Covered), hours(a.Asked), grouped(a.Rows), grouped(a.Bytes), grouped(a.Late), grouped(a.Dead), "",
		}
	}
	return t
}

func (d *DeadRows) text() string {
	if d.Resent > 0 {
		return fmt.Sprintf("%s (%s more were sent again)", grouped(d.Rows-min(d.Rows, d.Resent)), grouped(d.Resent))
	}
	return grouped(d.Rows)
}

// title names a log: its selection is told where another one has the same name.
func (s *Sink) title(l *Log) string {
	text := l.Stream
	if l.Partition != "" {
		text += "/" + l.Partition
	}
	if l.Name != "" {
		text += " (" + l.Name + ")"
	}
	for i := range s.Logs {
		if o := &s.Logs[i]; o.Stream == l.Stream && o.Partition == l.Partition && o.Selection != l.Selection {
			return text + ", selection " + l.Selection[:8]
		}
	}
	return text
}

// figures puts the vendor's word beside what was delivered.
func (s *Sink) figures() section {
	out := section{Level: 4, Title: "What the vendor says"}
	t := &table{Head: []string{"log", ">days told", ">the vendor's figure", ">delivered on them", "unit", ">ratio", "by", ">agree", ">to look at", ">not judged"}}
	for _, l := range s.Logs {
		u := l.Usage
		if u == nil {
			continue
		}
		ratio, by := "-", fmt.Sprintf("%d full days are too few", u.RatioDays)
		switch {
		case u.Unit == reconcile.Rows:
			ratio, by = "1", "counts are exact"
		case u.Ratio > 0:
			ratio, by = decimals(u.Ratio, 4), fmt.Sprintf("%d full days%s, tolerance %s %%", u.RatioDays, reconcile.OverheadWords(u.Overhead), decimals(u.Tolerance*100, 1))
		}
		t.Rows = append(t.Rows, []string{
			s.title(&l), strconv.Itoa(u.DaysTold), grouped(uint64(u.Figure)), grouped(uint64(u.Delivered)), string(u.Unit), ratio, by,
			strconv.Itoa(u.Agree), strconv.Itoa(len(u.Flagged)), strconv.Itoa(u.Unjudged),
		})
	}
	if len(t.Rows) > 0 {
		out.Table = t
	}
	return out
}

func (s *Sink) flagged() section {
	out := section{Level: 4, Title: "Days to look at"}
	t := &table{Head: []string{"log", "day", "why", ">the vendor's figure", ">delivered", ">expected"}}
	for _, l := range s.Logs {
		if l.Usage == nil {
			continue
		}
		for _, f := range l.Usage.Flagged {
			expected := "not known"
			if f.Expected >= 0 {
				expected = grouped(uint64(f.Expected))
			}
			t.Rows = append(t.Rows, []string{s.title(&l), f.Day, reconcile.Words(f.Verdict), grouped(uint64(f.Figure)), grouped(uint64(f.Delivered)), expected})
		}
	}
	if len(t.Rows) > 0 {
		out.Table = t
	}
	return out
}

func (s *Sink) unavailable() section {
	return s.spans("Unavailable", []string{"log", "from", "to", "why", "learnt"}, func(l *Log) (rows [][]string) {
		for _, g := range l.Gone {
			rows = append(rows, []string{g.From, g.To, g.Reason, g.Learnt})
		}
		return rows
	})
}

func (s *Sink) missing() section {
	return s.spans("Missing", []string{"log", "from", "to"}, func(l *Log) (rows [][]string) {
		for _, g := range l.Gaps {
			rows = append(rows, []string{g.From, g.To})
		}
		return rows
	})
}

func (s *Sink) failures() section {
	return s.spans("Failed", []string{"log", "from", "to", "state", ">attempts", "error", "what to do"}, func(l *Log) (rows [][]string) {
		for _, f := range l.Failures {
			state := "failed"
			if f.Quarantined {
				state = "quarantined"
			}
			rows = append(rows, []string{f.From, f.To, state, strconv.FormatUint(uint64(f.Attempts), 10), f.Error, f.Hint})
		}
		return rows
	})
}

// spans is a table of what logs have to tell of ranges.
func (s *Sink) spans(title string, head []string, of func(*Log) [][]string) section {
	out := section{Level: 4, Title: title}
	t := &table{Head: head}
	for i := range s.Logs {
		for _, row := range of(&s.Logs[i]) {
			t.Rows = append(t.Rows, append([]string{s.title(&s.Logs[i])}, row...))
		}
	}
	if len(t.Rows) > 0 {
		out.Table = t
	}
	return out
}

// hours writes milliseconds as hours, never more than there are.
func hours(ms int64) string {
	const hour = 3_600_000
	hundredths := ms % hour * 100 / hour
	if ms%hour == 0 {
		return grouped(uint64(ms / hour))
	}
	return fmt.Sprintf("%s.%02d", grouped(uint64(ms/hour)), hundredths)
}

// grouped writes a number with a comma between each three digits, whatever the machine's locale.
func grouped(n uint64) string {
	text := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func decimals(f float64, n int) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "-"
	}
	return strconv.FormatFloat(f, 'f', n, 64)
}

// plain takes out of a text from outside what could lead a terminal or a reader astray: control characters, and those that change the
// direction of what follows.
func plain(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t' || c == '\r':
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Bidi_Control, c):
			return unicode.ReplacementChar
		}
		return c
	}, text)
}
