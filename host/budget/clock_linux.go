package budget

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type bootClock struct{ boot string }

// SystemClock returns the machine's boot clock: the kernel's boot ID and CLOCK_BOOTTIME.
func SystemClock() (Clock, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("boot ID: %w", err)
	}
	c := bootClock{boot: strings.TrimSpace(string(id))}
	if c.boot == "" {
		return nil, fmt.Errorf("boot ID: it is empty")
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return nil, fmt.Errorf("boot clock: %w", err)
	}
	return c, nil
}

func (c bootClock) Boot() string { return c.boot }

func (c bootClock) Now() time.Duration {
	var ts unix.Timespec
	// It was read once before: it can only fail for a clock that doesn't exist.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("boot clock: %v", err))
	}
	return time.Duration(ts.Nano())
}
