package supervise

import "syscall"

// sysProcAttr puts the command into a group of its own and has the kernel kill
// it when this process dies.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
