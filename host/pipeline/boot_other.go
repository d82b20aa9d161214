//go:build !linux

package pipeline

import "time"

// sinceBoot is a clock that never steps. Whether it goes on while the machine sleeps is the system's: a clock that stands still then is
// set right by the next tick, and until then asks for less, never for more.
func sinceBoot() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
