package flow

// Measure is what the vendor itself says of a partition and range, by a cheaper answer than the records: a usage figure or a count.
// It is evidence, never coverage.
type Measure struct {
	Range
	Rows  int64 // records; -1: not told
	Bytes int64 // as the vendor counts them, which may differ from the records' own; -1: not told
}
