package pipeline

import "time"

// SliceTime is how long a slice may be planned to take when a sink ends transactions that are open for longer than deadline: what
// is expected of a read is only an estimate.
func SliceTime(deadline time.Duration) time.Duration { return deadline / 3 }
