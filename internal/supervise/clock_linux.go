package supervise

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads CLOCK_BOOTTIME: one for all processes of the machine, and it goes
// on while the machine sleeps.
func clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// An alarm rings at a reading of clock. It costs nothing until then, and rings
// at once when a machine wakes that slept past it.
type alarm struct {
	C chan struct{}
	f *os.File
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{C: make(chan struct{}, 1), f: os.NewFile(uintptr(fd), "timer")}
	go func() {
		for b := make([]byte, 8); ; {
			if _, err := a.f.Read(b); err != nil {
				return
			}
			select {
			case a.C <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// set moves the alarm.
func (a *alarm) set(at time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(at), 1))} // 0 would be never
	c, err := a.f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) { serr = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil) })
	if err == nil {
		err = os.NewSyscallError("timerfd_settime", serr)
	}
	return err
}
