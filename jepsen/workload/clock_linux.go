package workload

import "golang.org/x/sys/unix"

// Clock is CLOCK_MONOTONIC in ns: the same for all processes of the machine,
// whatever network they are in.
func Clock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // it takes no argument that could be wrong
	}
	return t.Nano()
}
