package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// autogroups is Linux's setting that makes each session one entity for the
// scheduler (sched(7)): a nice value then counts within its session only. The
// threads of the kernel belong to no session. Where it is on, those that take
// packets off the network and end what was written to the disk have been seen
// to wait for seconds beside one busy session, without which no program comes
// to an end of anything (docs/failover.md). A kernel without it has no file.
const autogroups = "/proc/sys/kernel/sched_autogroup_enabled"

// setAutogroups writes the setting and returns what it was; "" if the kernel
// has none. To set "" changes nothing.
func setAutogroups(to string) (was string, err error) {
	b, err := os.ReadFile(autogroups)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("autogroups of the scheduler: %w", err)
	}
	was = strings.TrimSpace(string(b))
	if to == "" || was == to {
		return was, nil
	}
	if err := os.WriteFile(autogroups, []byte(to), 0); err != nil {
		return was, fmt.Errorf("autogroups of the scheduler: %w", err)
	}
	return was, nil
}
