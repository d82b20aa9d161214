package vendorsim

import (
	"hash/fnv"
	"iter"
	"math"
	"time"
)

// Late makes a share of the records be indexed late: each is served, counted and used only from a time on that is its own, up to Max after
// the record's. Which, and how late, follows from the log and the record's number alone. It holds for downloads, usage and ELSA, whose
// answers are held in memory then; queries (the pages of events) don't know it.
type Late struct {
	Share float64       // of the records, 0 to 1
	Max   time.Duration // 0: a day
}

func (l *Late) setDefaults() {
	if l.Max == 0 {
		l.Max = 24 * time.Hour
	}
}

func (l *Late) validate(bad func(field, format string, args ...any)) {
	if l.Share < 0 || l.Share > 1 || math.IsNaN(l.Share) || l.Max < 0 {
		bad("Late", "want a share of 0 to 1 and a time that isn't negative, got %g and %s", l.Share, l.Max)
	}
}

// delays returns how late the records of a log are, by their number, in milliseconds.
func (l *Late) delays(key string) func(i int64) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // never fails
	seed := h.Sum64()
	return func(i int64) int64 {
		r := random(seed + uint64(i)*0x9e3779b97f4a7c15)
		if float64(r.next()>>11)/(1<<53) >= l.Share {
			return 0
		}
		return 1 + int64(r.next()%uint64(max(l.Max.Milliseconds(), 1)))
	}
}

// indexed returns a log with what is indexed of the range by now, by the vendor's clock.
func (s *Sim) indexed(l *logContent, from, to int64, now time.Time) *logContent {
	if s.opts.Late.Share == 0 {
		return l
	}
	delay, horizon := s.opts.Late.delays(l.ID), now.Add(-s.opts.IndexLag).UnixMilli()
	e := &explicit{}
	lo, hi := l.span(from, to)
	i := lo
	for line := range lines(l.pages(lo, hi)) {
		if at := l.at(i); at+delay(i) <= horizon {
			e.times = append(e.times, at)
			e.blob = append(append(e.blob, line...), '\n')
			e.ends = append(e.ends, len(e.blob))
		}
		i++
	}
	return &logContent{Log: l.Log, content: e}
}

// indexed returns a project with what is indexed of its records [lo, hi) by now, by the vendor's clock.
func (s *Sim) indexedProject(p *elsaProject, lo, hi int64, now time.Time) (*elsaProject, int64, int64) {
	if s.opts.Late.Share == 0 {
		return p, lo, hi
	}
	delay, horizon := s.opts.Late.delays(p.Key), now.Add(-s.opts.IndexLag).UnixMilli()
	some := &elsaProject{Project: p.Project}
	some.Records, some.Generated = nil, nil
	for i := lo; i < hi; i++ {
		if p.at(i)+delay(i) <= horizon {
			some.Records, some.times = append(some.Records, p.record(i)), append(some.times, p.at(i))
		}
	}
	return some, 0, int64(len(some.times))
}

// Served yields the lines of a log in [from, to) that are served by now, without their line feeds, in the order of a download; each is valid
// until the next. Without [Late], and up to the vendor's clock, they are those of [Sim.Lines].
func (s *Sim) Served(id string, from, to time.Time) iter.Seq[[]byte] {
	c, now := s.log(id), s.clock.Now()
	if c == nil {
		return func(func([]byte) bool) {}
	}
	first, end := from.UnixMilli(), min(to.UnixMilli(), now.Add(-s.opts.IndexLag).UnixMilli()+1)
	c = s.indexed(c, first, end, now)
	return lines(c.pages(c.span(first, end)))
}

// ServedRecords is Served for an ELSA project.
func (s *Sim) ServedRecords(key string, from, to time.Time) iter.Seq[ProjectRecord] {
	return func(yield func(ProjectRecord) bool) {
		p, now := s.project(key), s.clock.Now()
		if p == nil {
			return
		}
		lo, hi := p.span(from.UnixMilli(), min(to.UnixMilli(), now.Add(-s.opts.IndexLag).UnixMilli()+1))
		p, lo, hi = s.indexedProject(p, lo, hi, now)
		for i := lo; i < hi; i++ {
			if !yield(p.record(i)) {
				return
			}
		}
	}
}
