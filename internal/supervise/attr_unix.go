//go:build unix && !linux

package supervise

import "syscall"

// sysProcAttr puts the command into a group of its own.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
