//go:build unix

package decided

import (
	"os"
	"syscall"
)

// unused returns an error if another process has locked f, as storage does.
func unused(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) }
