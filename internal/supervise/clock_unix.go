//go:build unix && !linux

package supervise

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads a clock that all processes of the machine share. Whether it goes
// on while the machine sleeps depends on the system.
func clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(monotonic(), &ts); err != nil {
		panic("CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// monotonic is the system's CLOCK_MONOTONIC.
func monotonic() int32 {
	switch runtime.GOOS {
	case "darwin", "ios":
		return 6
	case "freebsd", "dragonfly", "solaris", "illumos":
		return 4
	}
	return 3 // OpenBSD, NetBSD
}

// An alarm rings at a reading of clock, or a little earlier; then it is set
// again.
type alarm struct {
	C     <-chan time.Time
	timer *time.Timer
}

func newAlarm() (*alarm, error) {
	t := time.NewTimer(time.Hour)
	return &alarm{t.C, t}, nil
}

// set moves the alarm.
func (a *alarm) set(at time.Duration) error {
	a.timer.Reset(min(at-clock(), lookEvery))
	return nil
}
