//go:build unix

package supervise

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A terminal is the one that the command was put in the foreground of.
type terminal struct {
	fd    int
	group int // this process's, to go back to
}

// foreground makes the command's group the terminal's foreground group, if
// stdin is a terminal and this process is in its foreground. Otherwise a
// command that reads from the terminal would be stopped as a background job.
func foreground(cmd *exec.Cmd, stdin *os.File) *terminal {
	if stdin == nil {
		stdin = os.Stdin
	}
	fd := int(stdin.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return nil
	}
	cmd.SysProcAttr.Foreground = true
	cmd.SysProcAttr.Ctty = fd
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
