// Package pace has the times of the plugin protocol that a plugin keeps, apart from what serves it, so that tests can shorten them.
package pace

import "time"

// Pace is how long a plugin's side of a read waits.
type Pace struct {
	Silence time.Duration // after which a read that is silent says what it waits for
	Stop    time.Duration // that a read has to finish after Stop, before its ctx ends
	Cancel  time.Duration // that a read has to return after its ctx has ended
}

// Protocol returns what keeps the protocol: a sign of life within 10 s, an end within 5 s of Stop and within 1 s of a cancellation, each with room to spare.
func Protocol() Pace {
	return Pace{Silence: 2500 * time.Millisecond, Stop: 4 * time.Second, Cancel: 900 * time.Millisecond}
}
