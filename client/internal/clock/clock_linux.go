package clock

import (
	"syscall"
	"time"
	"unsafe"
)

// clockBoottime is CLOCK_BOOTTIME: monotonic, and goes on while the machine
// sleeps. Go's own monotonic clock stops then.
const clockBoottime = 7

// Now returns the reading of a clock that no administrator can set and that
// counts the time the machine slept.
func Now() time.Duration {
	var ts syscall.Timespec
	// unsafe is what the system call's signature asks for; the kernel writes
	// one Timespec and keeps nothing.
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return sinceStart()
	}
	return time.Duration(ts.Nano())
}
