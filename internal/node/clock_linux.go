package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineTime reads CLOCK_BOOTTIME: monotonic, and goes on while the machine sleeps,
// which Go's own monotonic clock does not.
func machineTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// The kernel has had this clock since 2.6.39; without it no lease can be
		// counted safely.
		panic("CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
