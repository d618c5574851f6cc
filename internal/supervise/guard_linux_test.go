package supervise

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// escape is a script whose sleeper has left the group and the session.
const escape = `echo guard $PPID; echo self $$; setsid sh -c 'echo away $$; exec sleep 600 >/dev/null 2>&1' & sleep 0.2; echo ready; `

func TestWhoLeftTheGroupIsKilledWithALostLease(t *testing.T) {
	s := supervised(t, job{Script: escape + "wait", Lease: 4 * time.Second, Grace: 300 * time.Millisecond})
	s.signal(s.cmd.Process.Pid, syscall.SIGSTOP)
	mustBeGone(t, []int{s.pids[1], s.pids[2]})
	s.signal(s.cmd.Process.Pid, syscall.SIGCONT)
	s.result()
}

// Whoever kills the guard must not set free what only the guard knew of.
func TestWhoLeftTheGroupIsKilledWithTheGuard(t *testing.T) {
	s := supervised(t, job{Script: escape + "wait", Lease: time.Hour})
	s.signal(s.guard, syscall.SIGKILL)
	mustBeGone(t, s.pids)
	if got := s.result(); got != "code 137 lost false err "+ErrGuardDied.Error() {
		t.Errorf("the supervisor says %q", got)
	}
}

func TestWhoLeftTheGroupIsKilledInTimeBehindAStoppedGuard(t *testing.T) {
	const lease = 4 * time.Second
	begin := time.Now()
	s := supervised(t, job{Script: escape + "wait", Lease: lease, Grace: 200 * time.Millisecond})
	s.signal(s.guard, syscall.SIGSTOP)
	mustBeGone(t, s.pids)
	if late := time.Since(begin) - lease; late > time.Second {
		t.Errorf("the last ended %s after the lease", late)
	}
	if got := s.result(); got != "code 137 lost true err none" {
		t.Errorf("the supervisor says %q", got)
	}
}

func TestADaemonOutlivesTheCommand(t *testing.T) {
	s := supervised(t, job{Script: escape + "exit 0", Lease: time.Hour})
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
	s := supervised(t, job{Script: "echo guard $PPID; for i in 1 2 3 4 5; do (true & true &) ; done; sleep 0.3; echo self $$; echo ready; exec sleep 600", Lease: time.Hour})
	files, err := filepath.Glob("/proc/" + strconv.Itoa(s.guard) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all += string(b)
	}
	if want := strconv.Itoa(s.pids[1]) + " "; all != want {
		t.Errorf("the guard's children are %q; want %q", all, want)
	}
	s.signal(s.pids[1], syscall.SIGTERM)
	s.result()
}
