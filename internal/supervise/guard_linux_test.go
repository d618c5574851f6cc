package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// escape is a script whose sleeper has left the group and the session.
const escape = `echo guard $PPID; echo self $$; echo away $(setsid sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' &); echo ready; `

func TestWhoLeftTheGroupIsKilledWithALostLease(t *testing.T) {
	t.Parallel()
	s := supervised(t, job{Script: escape + "exec sleep 600", Cut: 8 * time.Second, Grace: 300 * time.Millisecond})
	s.cut()
	s.signal(s.cmd.Process.Pid, syscall.SIGSTOP)
	mustBeGone(t, []int{s.pids[1], s.pids[2]})
	s.signal(s.cmd.Process.Pid, syscall.SIGCONT)
	s.result()
}

// Whoever kills the guard must not set free what only the guard knew of.
func TestWhoLeftTheGroupIsKilledWithTheGuard(t *testing.T) {
	s := supervised(t, job{Script: escape + "exec sleep 600"})
	s.signal(s.guard, syscall.SIGKILL)
	mustBeGone(t, s.pids)
	if got := s.result(); got != "code 137 lost false err "+ErrGuardDied.Error() {
		t.Errorf("the supervisor says %q", got)
	}
}

func TestWhoLeftTheGroupIsKilledInTimeBehindAStoppedGuard(t *testing.T) {
	t.Parallel()
	s := supervised(t, job{Script: escape + "exec sleep 600", Cut: 8 * time.Second, Grace: 200 * time.Millisecond})
	s.cut()
	s.signal(s.guard, syscall.SIGSTOP)
	mustBeGone(t, s.pids)
	if got := s.result(); got != "code 137 lost true err none" {
		t.Errorf("the supervisor says %q", got)
	}
}

func TestADaemonOutlivesTheCommand(t *testing.T) {
	s := supervised(t, job{Script: escape + "exit 0"})
	if got := s.result(); got != "code 0 lost false err none" {
		t.Errorf("the supervisor says %q", got)
	}
	if gone(s.pids[2]) {
		t.Error("the daemon is gone")
	}
	s.signal(s.pids[2], syscall.SIGKILL)
	mustBeGone(t, s.pids)
}

// The guard buries the orphans it has adopted, and sleeps otherwise.
func TestTheGuardCostsLittle(t *testing.T) {
	s := supervised(t, job{Script: "echo guard $PPID; for i in 1 2 3 4 5; do (true & true &) ; done; echo self $$; echo ready; exec sleep 600"})
	want := strconv.Itoa(s.pids[1]) + " "
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		got := childrenOf(t, s.guard)
		if got == want {
			break
		}
		if time.Now().After(end) {
			t.Errorf("the guard's children are %q; want %q", got, want)
			break
		}
	}
	s.signal(s.pids[1], syscall.SIGTERM)
	s.result()
}

// childrenOf lists the children of all threads of a process.
func childrenOf(t *testing.T, pid int) (all string) {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil { // a thread may have ended
			all += string(b)
		}
	}
	return all
}

// A stopped supervisor is no reason to leave the rest of the group at work
// after the command has ended.
func TestNothingIsLeftBehindByAStoppedSupervisor(t *testing.T) {
	s := supervised(t, job{Script: "sleep 600 & echo child $!; echo ready; wait"})
	s.signal(s.cmd.Process.Pid, syscall.SIGSTOP)
	s.signal(s.pids[0], 0)
	pid := parentOf(t, s.pids[0])
	s.signal(pid, syscall.SIGKILL)
	mustBeGone(t, s.pids)
	s.signal(s.cmd.Process.Pid, syscall.SIGCONT)
	if got := s.result(); got != "code 137 lost false err none" {
		t.Errorf("the supervisor says %q", got)
	}
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	var state string
	var parent int
	if _, err := fmt.Sscan(string(b[strings.LastIndexByte(string(b), ')')+1:]), &state, &parent); err != nil {
		t.Fatal(err)
	}
	return parent
}
