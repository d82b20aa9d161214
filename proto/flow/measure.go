package flow

import "fmt"

// Measure is what the vendor itself says of a partition and range, by a cheaper answer than the records: a usage figure or a count.
// It is evidence, never coverage.
type Measure struct {
	Range
	Rows  int64 // records; -1: not told
	Bytes int64 // as the vendor counts them, which may differ from the records' own; -1: not told
}

// CheckMeasures reports what is wrong with the measures of a range: they are in time order, don't overlap, each meets the range,
// and their figures are -1 or counts.
func CheckMeasures(r Range, measures []Measure) error {
	for i, m := range measures {
		switch {
		case m.Empty():
			return fmt.Errorf("measure %d: the range %s is empty", i, m.Range)
		case !m.Meets(r):
			return fmt.Errorf("measure %d: %s doesn't meet %s, which was asked for", i, m.Range, r)
		case i > 0 && m.From.Before(measures[i-1].To):
			return fmt.Errorf("measure %d: %s overlaps or comes before %s", i, m.Range, measures[i-1].Range)
		case m.Rows < -1 || m.Bytes < -1:
			return fmt.Errorf("measure %d: %d rows, %d bytes: want counts, or -1", i, m.Rows, m.Bytes)
		}
	}
	return nil
}
