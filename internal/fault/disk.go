// Package fault breaks what lies under a process from outside: its disk, its share
// of the processor. The measurement of failovers and the Jepsen harness share it.
// It needs Linux and root; what cannot be made says so in its error.
package fault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Tools are the commands that a FileSystem needs: command to Debian package.
var Tools = [][2]string{{"fsfreeze", "util-linux"}, {"mount", "mount"}, {"umount", "mount"}, {"mkfs.ext4", "e2fsprogs"}}

// CheckTools fails with what to install if one of tools, pairs of a command and its
// Debian package, is missing.
func CheckTools(tools [][2]string) error {
	for _, t := range tools {
		if _, err := exec.LookPath(t[0]); err != nil {
			return fmt.Errorf("%s is missing: apt-get install -y %s", t[0], t[1])
		}
	}
	return nil
}

// Run runs a command to its end. What it printed is in the error.
func Run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Environ is the environment without settings of nodes.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PRYTANY_") })
}

// A FileSystem is ext4 in a file, mounted. To freeze it is to have every write
// and fsync wait, as on a disk that has stopped answering; nothing else of the
// process is touched, and no other process.
type FileSystem struct{ image, dir string }

// MakeFileSystem makes one of size bytes and mounts it at dir; the file lies beside
// dir. Remove must be called, also after an error.
func MakeFileSystem(dir string, size int64) (*FileSystem, error) {
	fs := &FileSystem{dir + ".img", dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fs, err
	}
	if err := os.WriteFile(fs.image, nil, 0o600); err != nil {
		return fs, err
	}
	if err := os.Truncate(fs.image, size); err != nil {
		return fs, err
	}
	if err := Run("mkfs.ext4", "-q", "-F", fs.image); err != nil {
		return fs, err
	}
	return fs, fs.Mount()
}

// Mount mounts it, and with that has its journal replayed.
func (fs *FileSystem) Mount() error { return Run("mount", "-o", "loop", fs.image, fs.dir) }

// Unmount unmounts it. It must not be frozen, nor in use.
func (fs *FileSystem) Unmount() error { return Run("umount", fs.dir) }

// Freeze has every write wait from now on.
func (fs *FileSystem) Freeze() error { return Run("fsfreeze", "--freeze", fs.dir) }

// Thaw ends Freeze.
func (fs *FileSystem) Thaw() error { return Run("fsfreeze", "--unfreeze", fs.dir) }

// Remove unmounts it if it is mounted, and removes its file. It must not be frozen.
func (fs *FileSystem) Remove() (err error) {
	mounts, err := MountsUnder(fs.dir)
	if slices.Contains(mounts, fs.dir) {
		err = errors.Join(err, fs.Unmount())
	}
	return errors.Join(err, os.RemoveAll(fs.image))
}

// MountsUnder lists what is mounted at dir or below it, the deepest first.
func MountsUnder(dir string) (found []string, err error) {
	if dir == "" {
		return nil, nil
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4]+"/", dir+"/") {
			found = append(found, f[4])
		}
	}
	slices.SortFunc(found, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return found, nil
}
