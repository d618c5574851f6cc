package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// enter runs this program again in a network namespace of its own, and returns its
// exit code.
func enter() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "groups:", err)
		return 1
	}
	cmd := exec.Command("sh", append([]string{"-c", `ip link set lo up && exec "$@"`, "sh", self, "-inside"}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "groups: no network namespace:", err)
		return 1
	}
	return 0
}

// A traffic is what was sent in this network namespace since it began.
type traffic struct {
	segments  int64 // of TCP, acknowledgements included
	datagrams int64 // of UDP
	bytes     int64
}

func (t traffic) packets() int64 { return t.segments + t.datagrams }

func (t traffic) minus(u traffic) traffic {
	return traffic{t.segments - u.segments, t.datagrams - u.datagrams, t.bytes - u.bytes}
}

// readTraffic reads what the kernel counts.
func readTraffic() (t traffic, err error) {
	if t.segments, err = snmp("Tcp:", "OutSegs"); err != nil {
		return t, err
	}
	if t.datagrams, err = snmp("Udp:", "OutDatagrams"); err != nil {
		return t, err
	}
	t.bytes, err = loopbackBytes()
	return t, err
}

// snmp reads one counter of /proc/net/snmp: each protocol has a line with names and
// one with values.
func snmp(protocol, name string) (int64, error) {
	f, err := os.Open("/proc/self/net/snmp")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	var names []string
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) == 0 || fields[0] != protocol {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name && i < len(fields) {
				return strconv.ParseInt(fields[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("/proc/self/net/snmp has no %s %s", protocol, name)
}

// loopbackBytes reads how much was sent over lo.
func loopbackBytes() (int64, error) {
	f, err := os.Open("/proc/self/net/dev")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	for in := bufio.NewScanner(f); in.Scan(); {
		if _, rest, ok := strings.Cut(in.Text(), "lo:"); ok && len(strings.Fields(rest)) > 8 {
			return strconv.ParseInt(strings.Fields(rest)[8], 10, 64)
		}
	}
	return 0, errors.New("/proc/self/net/dev has no lo")
}
