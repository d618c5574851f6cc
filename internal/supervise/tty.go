//go:build unix

package supervise

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A terminal is the one that the command was put in the foreground of.
type terminal struct {
	fd    int
	group int // this process's, to go back to
}

// foreground returns the terminal whose foreground group the command's must
// become: stdin, if it is one and this process is in its foreground, else nil.
// Otherwise a command that reads from the terminal would be stopped as a
// background job.
func foreground(stdin *os.File) *terminal {
	fd := int(stdin.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return nil
	}
	return &terminal{fd: fd, group: group}
}

// restore takes the terminal back. It is safe to call on nil.
func (t *terminal) restore() {
	if t == nil {
		return
	}
	// A background process that changes the foreground group gets SIGTTOU.
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.group)
}
