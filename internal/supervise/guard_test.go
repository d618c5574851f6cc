//go:build unix

package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asSupervisor makes this test binary a supervisor of its own that runs the
// script in the variable; see TestMain.
const asSupervisor = "PRYTANY_TEST_AS_SUPERVISOR"

// A job is what such a supervisor is to do.
type job struct {
	Script string
	Cut    time.Duration // what is left of the lease, an hour, once it is cut
	Grace  time.Duration
}

// superviseMain prints the result of the job as the last line.
func superviseMain() {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(asSupervisor)), &j); err != nil {
		panic(err)
	}
	l := newLease(time.Hour)
	if j.Cut > 0 {
		syscall.CloseOnExec(cutFile)
		go l.cut(j.Cut)
	}
	r := Run(context.Background(), Config{Args: []string{"sh", "-c", j.Script}, Lease: l, Grace: j.Grace, Stdin: os.Stdin})
	_, _ = io.WriteString(os.Stdout, "code "+strconv.Itoa(r.Code)+" lost "+strconv.FormatBool(r.Lost)+" err "+errText(r.Err)+"\n")
}

// cutFile is where such a supervisor reads that its lease is to be cut.
const cutFile = 3

// cut waits until the lease is to be cut, has it end in left, and says when that is
// at the earliest, by the clock of all processes, as soon as the guard knows.
func (l *fakeLease) cut(left time.Duration) {
	if _, err := os.NewFile(cutFile, "cut").Read(make([]byte, 1)); err != nil {
		return
	}
	end := clock() + left
	l.renew(left)
	for looks := l.looks.Load(); l.looks.Load() < looks+3; { // one may have been before the cut
		time.Sleep(time.Millisecond)
	}
	_, _ = io.WriteString(os.Stdout, "cut "+strconv.Itoa(int(end))+"\n")
}

func errText(err error) string {
	if err == nil {
		return "none"
	}
	return err.Error()
}

// A supervision is a supervisor in a process and a group of its own.
type supervision struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *bufio.Scanner
	pids  []int // that the script told before "ready"
	guard int
	knife *os.File // cuts the lease
}

// supervised starts one, and waits until the script says "ready".
func supervised(t *testing.T, j job) *supervision {
	t.Helper()
	spec, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	s := &supervision{t: t, cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), asSupervisor+"="+string(spec))
	s.cmd.Stderr = os.Stderr
	if j.Cut > 0 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		t.Cleanup(func() { _ = w.Close() })
		s.cmd.ExtraFiles, s.knife = []*os.File{r}, w
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	for s.out = bufio.NewScanner(out); s.out.Scan(); {
		word, number, _ := strings.Cut(s.out.Text(), " ")
		if word == "ready" {
			return s
		}
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the script said %q", s.out.Text())
		}
		if word == "guard" {
			s.guard = pid
		}
		s.pids = append(s.pids, pid)
	}
	t.Fatal("the script said nothing")
	return nil
}

// cut has the lease end in the job's Cut, and returns when that is by clock, as soon
// as supervisor and guard know.
func (s *supervision) cut() (end time.Duration) {
	s.t.Helper()
	if _, err := s.knife.Write([]byte{0}); err != nil {
		s.t.Fatal(err)
	}
	if !s.out.Scan() {
		s.t.Fatal("the supervisor has ended")
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s.out.Text(), "cut "))
	if err != nil {
		s.t.Fatal(s.out.Text())
	}
	return time.Duration(n)
}

// result is the last line that the supervisor prints.
func (s *supervision) result() (last string) {
	for s.out.Scan() && !strings.HasPrefix(last, "code ") {
		last = s.out.Text()
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
	return last
}

func (s *supervision) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

// family is a script with a child, a grandchild behind a shell of its own, and
// its guard.
const family = `echo guard $PPID; echo self $$; sleep 600 & echo child $!; sh -c 'trap "" TERM; sh -c "trap \"\" TERM; echo grand \$\$; echo ready; while :; do sleep 0.1; done"' & wait`

func TestAStoppedSupervisorEndsTheCommandInTime(t *testing.T) {
	t.Parallel()
	const grace = 400 * time.Millisecond
	s := supervised(t, job{Script: family, Cut: 8 * time.Second, Grace: grace})
	end := s.cut()
	// The whole group, as Ctrl-Z does, and with what nobody can catch.
	s.signal(-s.cmd.Process.Pid, syscall.SIGSTOP)
	mustBeGone(t, s.pids[1:])
	if early := end - grace - clock(); early > 0 {
		t.Errorf("the command ended %s before the lease was in doubt", early)
	}
	if gone(s.guard) {
		t.Error("the guard is gone before its supervisor knows")
	}
	s.signal(-s.cmd.Process.Pid, syscall.SIGCONT)
	if got := s.result(); !strings.Contains(got, "lost true") {
		t.Errorf("the supervisor says %q", got)
	}
	mustBeGone(t, s.pids)
}

func TestAKilledSupervisorTakesAllAlong(t *testing.T) {
	s := supervised(t, job{Script: family})
	s.signal(-s.cmd.Process.Pid, syscall.SIGKILL)
	mustBeGone(t, s.pids)
	_ = s.cmd.Wait()
}

// A command that waits for a terminal it is not given is stopped: it must end
// all the same when it is told to.
func TestAStoppedCommandHearsSignals(t *testing.T) {
	s := supervised(t, job{Script: "echo self $$; echo ready; kill -STOP $$; sleep 600"})
	s.signal(s.cmd.Process.Pid, syscall.SIGTERM)
	mustBeGone(t, s.pids)
	if got := s.result(); got != "code 143 lost false err none" {
		t.Errorf("the supervisor says %q", got)
	}
}

func TestAKilledGuardTakesAllAlong(t *testing.T) {
	s := supervised(t, job{Script: family})
	s.signal(s.guard, syscall.SIGKILL)
	mustBeGone(t, s.pids)
	if got := s.result(); got != "code 137 lost false err "+ErrGuardDied.Error() {
		t.Errorf("the supervisor says %q", got)
	}
}

func TestAStoppedGuardIsNotNeeded(t *testing.T) {
	t.Parallel()
	s := supervised(t, job{Script: family, Cut: 8 * time.Second, Grace: 200 * time.Millisecond})
	s.cut()
	s.signal(s.guard, syscall.SIGSTOP)
	if got := s.result(); got != "code 137 lost true err none" {
		t.Errorf("the supervisor says %q", got)
	}
	mustBeGone(t, s.pids)
}

// The guard is there for the supervisor's death: what ends other programs must
// not end it.
func TestTheGuardIsDeaf(t *testing.T) {
	s := supervised(t, job{Script: "echo guard $PPID; echo self $$; echo ready; exec sleep 600"})
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGUSR1} {
		s.signal(s.guard, sig)
	}
	s.signal(s.pids[1], syscall.SIGTERM)
	if got := s.result(); got != "code 143 lost false err none" {
		t.Errorf("the supervisor says %q", got)
	}
	mustBeGone(t, s.pids)
}

// A guard that stands still while it starts the command is killed: the command may run.
func TestAGuardThatHangsWhileItStarts(t *testing.T) {
	for _, begun := range []bool{false, true} {
		l := newLease(0)
		reports := make(chan report, 1)
		if begun {
			reports <- report{Begun: true}
		}
		s := &supervisor{cfg: Config{Lease: l}, look: time.Hour, guard: &guardProcess{cmd: exec.Command("sleep", "600"), reports: reports}}
		if err := s.guard.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.guard.cmd.Wait(); close(reports) }()
		if _, got, ok := s.started(); ok || got != begun || !s.lost {
			t.Errorf("begun %v, report %v, lost %v; want begun %v, none, lost", got, ok, s.lost, begun)
		}
	}
}

func TestWithoutAGuardNothingRuns(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	null := devNull(t)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 3 // no socket can be made
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Skipf("limits cannot be set here: %v", err)
	}
	got := Run(t.Context(), Config{Args: []string{"/usr/bin/touch", mark}, Lease: newLease(time.Hour), Stdin: null, Stdout: null, Stderr: null})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if got.Code != CodeNoGuard || got.Err == nil {
		t.Errorf("Run = %+v; want no guard", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command ran")
	}
}

// What the caller opened for the command reaches it under its own number.
func TestInheritedFilesPass(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(job{Script: "echo hello >&3"})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asSupervisor+"="+string(spec))
	cmd.ExtraFiles = []*os.File{w}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "code 0 ") {
		t.Fatalf("%v: %s", err, out)
	}
	_ = w.Close()
	if got, err := io.ReadAll(r); string(got) != "hello\n" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
