package fault

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// How a file system is shut down: EXT4_IOC_SHUTDOWN and its flags, of
// fs/ext4/ext4.h. The kernel's own tests of crashes use it.
const (
	shutdownRequest = 0x8004587d
	logFlush        = 1
	noLogFlush      = 2
)

// Fail has every read that needs the disk and every write fail with EIO from now
// on, as on a disk that has died. What fsync had not promised by then is lost, as
// in a loss of power, if lose is set; else what the journal has is kept. Repair
// ends it.
func (fs *FileSystem) Fail(lose bool) error {
	d, err := os.Open(fs.dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	flag := logFlush
	if lose {
		flag = noLogFlush
	}
	if err := unix.IoctlSetPointerInt(int(d.Fd()), shutdownRequest, flag); err != nil {
		return fmt.Errorf("shut down %s: %w", fs.dir, err)
	}
	return nil
}

// Repair mounts it anew after Fail. Nobody may use it meanwhile.
func (fs *FileSystem) Repair() error {
	if err := fs.Unmount(); err != nil {
		return err
	}
	return fs.Mount()
}
