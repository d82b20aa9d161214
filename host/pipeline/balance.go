package pipeline

import (
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// What was read of a slice is summed up three times, each by counting and hashing the records themselves: by the source's SDK (the
// manifest), by the host where frames become records, and by each sink's account on the way to it. They are held against each other
// before anything is committed, and the receipt after.

// checkBalance refuses an account in which records lack or are there twice: read = delivered + dead + filtered, to the byte.
func checkBalance(sink string, a sinks.Account) error {
	if a.Balanced() {
		return nil
	}
	return fault.Errorf(fault.Bug, "sink "+sink, "of %d records read %d were delivered, %d are dead and %d were there, or their digests don't add up",
		a.Read.Rows, a.Delivered.Rows, a.Dead.Rows, a.Filtered.Rows)
}

// checkReceipt refuses a receipt that doesn't say what was committed. The commit stands: the next try finds it by Lookup.
func checkReceipt(sink string, s flow.Slice, a sinks.Account, r sinks.Receipt) error {
	if r.Slice.ID == s.ID && r.Delivered == a.Delivered && r.Dead == a.Dead {
		return nil
	}
	return fault.New(fault.Bug, "sink "+sink, "report this to the sink's author",
		fault.Errorf(fault.Bug, "", "the receipt of %s is of %s and says %d records delivered, digest %s, and %d dead; what was committed is %d, digest %s, and %d",
			s, r.Slice, r.Delivered.Rows, r.Delivered.Digest, r.Dead.Rows, a.Delivered.Rows, a.Delivered.Digest, a.Dead.Rows))
}
