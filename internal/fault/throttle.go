package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Throttle is a control group for CPU time, for one process.
type Throttle struct {
	dir, root string
	home      string // the group that the process came from; "" while there is none
}

// groupRoots are where control groups for CPU time live: version 1, then 2.
var groupRoots = []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"}

// MakeThrottle makes a group whose processes together run for at most quota in
// each period.
func MakeThrottle(prefix string, quota, period time.Duration) (*Throttle, error) {
	for _, root := range groupRoots {
		quotaFile := "cpu.cfs_quota_us"
		if _, err := os.Stat(filepath.Join(root, quotaFile)); err != nil {
			controllers, _ := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
			if !strings.Contains(" "+string(controllers)+" ", "cpu") {
				continue
			}
			quotaFile = ""
		}
		t := &Throttle{dir: filepath.Join(root, prefix), root: root}
		if err := os.Mkdir(t.dir, 0o700); err != nil { // fails if there is one already
			return nil, err
		}
		if quotaFile == "" {
			return t, t.write("cpu.max", fmt.Sprintf("%d %d", quota.Microseconds(), period.Microseconds()))
		}
		return t, errors.Join(
			t.write("cpu.cfs_period_us", strconv.FormatInt(period.Microseconds(), 10)),
			t.write(quotaFile, strconv.FormatInt(quota.Microseconds(), 10)))
	}
	return nil, errors.New("no control group for CPU time here: neither /sys/fs/cgroup/cpu nor the controller cpu in /sys/fs/cgroup")
}

func (t *Throttle) write(file, value string) error {
	return os.WriteFile(filepath.Join(t.dir, file), []byte(value), 0o600)
}

// Take puts a process into the group.
func (t *Throttle) Take(pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	t.home = filepath.Join(t.root, groupOf(string(b), t.root == groupRoots[0]))
	if _, err := os.Stat(filepath.Join(t.home, "cgroup.procs")); err != nil {
		t.home = t.root // the path is another's view, as in a container of version 1
	}
	return t.write("cgroup.procs", strconv.Itoa(pid))
}

// groupOf returns the path of the group for CPU time that /proc/PID/cgroup names,
// see cgroups(7), or "/" if it names none.
func groupOf(text string, first bool) string {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		if first && slices.Contains(strings.Split(f[1], ","), "cpu") || !first && f[0] == "0" {
			if strings.HasPrefix(f[2], "/..") {
				return "/" // it cannot be seen from here
			}
			return f[2]
		}
	}
	return "/"
}

// Release puts it back to where it was, if it was taken, and removes the group.
func (t *Throttle) Release(pid int) (err error) {
	if t.home != "" {
		err = os.WriteFile(filepath.Join(t.home, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
	}
	return errors.Join(err, removeDir(t.dir))
}

// removeDir removes an empty group, once its last process has left.
func removeDir(dir string) (err error) {
	for range 100 {
		if err = syscall.Rmdir(dir); err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("rmdir %s: %w", dir, err)
}

// RemoveGroup removes the groups called prefix, if there are any.
func RemoveGroup(prefix string) (err error) {
	for _, root := range groupRoots {
		err = errors.Join(err, removeDir(filepath.Join(root, prefix)))
	}
	return err
}

// Groups lists the groups whose names begin with prefix.
func Groups(prefix string) (names []string) {
	for _, root := range groupRoots {
		found, _ := filepath.Glob(filepath.Join(root, prefix+"*")) // the pattern is good
		for _, dir := range found {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				names = append(names, filepath.Base(dir))
			}
		}
	}
	return names
}
