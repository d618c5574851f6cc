package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of all descendants whose parent dies, so
// that none can hide from it.
func adopt() {
	if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid())); err != nil {
		return // they could not be found
	}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// disown leaves orphans to the system again.
func disown() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }

// children lists the processes whose parent this one is.
func children() (pids []int) {
	files, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		for word := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// reap buries adopted children that have ended. It leaves the command alone.
func reap(command int) {
	for _, pid := range children() {
		if pid != command {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// killAll kills every descendant, in whatever group or session it is: the
// children of one that died become this process's. Until they are reaped, which
// only this process does, their ids are nobody else's.
func killAll(command int) {
	killUntil(func(pid int) bool { return pid != command }, func() bool { return ended(command) && len(children()) <= 1 })
}

// killOrphans is killAll for the supervisor when its guard is gone: what the
// guard had adopted is now its own. Its other children are in its own group.
func killOrphans() {
	stray := func(pid int) bool {
		group, err := unix.Getpgid(pid)
		return err == nil && group != unix.Getpgrp()
	}
	killUntil(stray, func() bool { return !slices.ContainsFunc(children(), stray) })
}

// killUntil kills and buries the children that are strays until there are none
// and it is done, or a second has passed in which it could.
func killUntil(stray func(pid int) bool, done func() bool) {
	for range 1000 {
		left := false
		for _, pid := range children() {
			if !stray(pid) {
				continue
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
			if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == 0 && err == nil {
				left = true
			}
		}
		if !left && done() {
			return
		}
		time.Sleep(time.Millisecond) // a killed process ends soon, and no signal says when the last did
	}
}

// ended reports whether a child is dead and unreaped.
func ended(pid int) bool {
	state, _ := statOf(pid)
	return state == "Z" || state == ""
}

// born returns when a process was started, 0 if there is none. With the id it
// tells a process from every other.
func born(pid int) uint64 {
	_, start := statOf(pid)
	return start
}

func statOf(pid int) (state string, start uint64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// The name, in parentheses, may contain anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return "", 0
	}
	start, _ = strconv.ParseUint(f[19], 10, 64)
	return f[0], start
}
