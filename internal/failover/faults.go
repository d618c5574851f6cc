package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// startLoad keeps all cores busy, before everybody else, until stop is called.
// So that the nice value counts against all others, the nodes and the kernel's
// threads alike, the scheduler keeps no sessions apart meanwhile.
func startLoad(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var started []*exec.Cmd
	apart, err := setAutogroups("0")
	stop = func() {
		cancel()
		if _, err := setAutogroups(apart); err != nil {
			say("%v", err)
		}
		for _, cmd := range started {
			_ = cmd.Wait()
		}
	}
	if err != nil {
		return stop, err
	}
	self, err := os.Executable()
	if err != nil {
		return stop, err
	}
	for range runtime.NumCPU() {
		cmd := exec.CommandContext(ctx, self, "-spin")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return stop, err
		}
		started = append(started, cmd)
	}
	return stop, nil
}
