package wal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync waits until what was written to f is on the disk. Its times may lag
// behind, so that a block written again costs no entry in the file system's
// journal.
func Sync(f *os.File) error { return control(f, unix.Fdatasync) }

// forget has the next read of f come from the disk. A write that failed leaves
// pages in memory that the disk does not have and that look as if it did.
func forget(f *os.File) error {
	return control(f, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) })
}

// foresee has the system read f ahead.
func foresee(f *os.File) error {
	return control(f, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_WILLNEED) })
}

func control(f *os.File, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for failed = unix.EINTR; failed == unix.EINTR; {
			failed = call(int(fd))
		}
	})
	return errors.Join(err, failed)
}
