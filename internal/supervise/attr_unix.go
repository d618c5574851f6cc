//go:build unix && !linux

package supervise

import (
	"os/exec"
	"syscall"
)

// sysProcAttr puts the command into a group of its own.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit waits until the command has ended.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }
