//go:build unix

package supervise

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A fakeLease is renewed by hand.
type fakeLease struct {
	base  time.Time
	left  atomic.Int64 // nanoseconds from base on
	looks atomic.Int64 // at the deadline
	done  chan struct{}
}

func newLease(ttl time.Duration) *fakeLease {
	l := &fakeLease{base: time.Now(), done: make(chan struct{})}
	l.renew(ttl)
	return l
}

// renew has the lease end ttl from now.
func (l *fakeLease) renew(ttl time.Duration) { l.left.Store(int64(time.Since(l.base) + ttl)) }

func (l *fakeLease) Deadline() time.Time {
	l.looks.Add(1)
	return l.base.Add(time.Duration(l.left.Load()))
}

func (l *fakeLease) Done() <-chan struct{} { return l.done }

// devNull keeps a test's command away from the test's own terminal.
func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestExitCodesPassThrough(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"success", []string{"true"}, 0},
		{"failure", []string{"sh", "-c", "exit 3"}, 3},
		{"signal", []string{"sh", "-c", "kill -KILL $$"}, 128 + 9},
		{"not found", []string{"no-such-program-here"}, CodeNotFound},
		{"not there", []string{filepath.Join(t.TempDir(), "absent")}, CodeNotFound},
		{"not executable", []string{plain}, CodeNotExecutable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			null := devNull(t)
			got := Run(t.Context(), Config{Args: tt.args, Lease: newLease(time.Hour), Stdin: null, Stdout: null, Stderr: null})
			if got.Code != tt.want || got.Lost || (got.Err != nil) != (tt.want >= 126 && tt.want <= 127) {
				t.Errorf("Run(%q) = %+v; want code %d", tt.args, got, tt.want)
			}
		})
	}
}

// start runs a shell script that prints the pids to watch, one a line, and
// then "ready"; it returns them and the channel with the end.
func start(t *testing.T, l Lease, grace time.Duration, script string) (pids []int, end <-chan Result) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	null := devNull(t)
	done := make(chan Result, 1)
	go func() {
		done <- Run(t.Context(), Config{Args: []string{"sh", "-c", script}, Lease: l, Grace: grace, Stdin: null, Stdout: w, Stderr: null})
		_ = w.Close()
	}()
	for in := bufio.NewScanner(r); in.Scan(); {
		if in.Text() == "ready" {
			return pids, done
		}
		pid, err := strconv.Atoi(strings.TrimSpace(in.Text()))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	t.Fatal("the script said nothing")
	return nil, nil
}

// mustBeGone waits until the processes do not exist any more. A killed orphan
// stays visible until its new parent has reaped it.
func mustBeGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		for end := time.Now().Add(20 * time.Second); !gone(pid); {
			if time.Now().After(end) {
				t.Fatalf("process %d outlived the lease", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestALostLeaseEndsTheWholeGroup(t *testing.T) {
	l := newLease(time.Hour)
	pids, end := start(t, l, time.Minute, "sleep 600 & echo $!; echo $$; echo ready; wait")
	close(l.done)
	if got := <-end; !got.Lost || got.Code != 128+int(syscall.SIGTERM) {
		t.Errorf("Run = %+v; want lost, ended by SIGTERM", got)
	}
	mustBeGone(t, pids)
}

func TestADeadlineKillsWhoIgnoresSIGTERM(t *testing.T) {
	l := newLease(time.Hour)
	pids, end := start(t, l, 50*time.Millisecond, "trap '' TERM; echo $$; echo ready; while :; do sleep 0.05; done")
	l.renew(0)
	close(l.done)
	if got := <-end; !got.Lost || got.Code != 128+int(syscall.SIGKILL) {
		t.Errorf("Run = %+v; want lost, ended by SIGKILL", got)
	}
	mustBeGone(t, pids)
}

func TestWithoutRenewalTheCommandEndsByTheDeadline(t *testing.T) {
	const grace = time.Minute
	l := newLease(time.Hour)
	pids, end := start(t, l, grace, "echo $$; echo ready; exec sleep 600")
	l.renew(grace + time.Second)
	doubt := l.Deadline().Add(-grace)
	got := <-end
	if !got.Lost || got.Code != 128+int(syscall.SIGTERM) {
		t.Errorf("Run = %+v; want lost, ended by SIGTERM", got)
	}
	if time.Now().Before(doubt) {
		t.Error("ended before the lease was in doubt")
	}
	mustBeGone(t, pids)
}

func TestNothingIsLeftBehind(t *testing.T) {
	pids, end := start(t, newLease(time.Hour), 0, "sleep 600 & echo $!; echo ready; exit 4")
	if got := <-end; got.Lost || got.Code != 4 {
		t.Errorf("Run = %+v; want exit 4", got)
	}
	mustBeGone(t, pids)
}

func TestSignalsArePassedOn(t *testing.T) {
	_, end := start(t, newLease(time.Hour), 0, "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done")
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got := <-end; got.Lost || got.Code != 7 {
		t.Errorf("Run = %+v; want exit 7", got)
	}
}
