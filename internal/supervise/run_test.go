//go:build unix

package supervise

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNothingRunsWhenItIsTooLate(t *testing.T) {
	over := newLease(time.Hour)
	close(over.done)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name  string
		ctx   context.Context
		lease Lease
		lost  bool
	}{
		{"lease over", t.Context(), over, true},
		{"deadline passed", t.Context(), newLease(-time.Second), true},
		{"context ended", ended, newLease(time.Hour), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mark := filepath.Join(t.TempDir(), "ran")
			null := devNull(t)
			got := Run(tt.ctx, Config{Args: []string{"touch", mark}, Lease: tt.lease, Stdin: null, Stdout: null, Stderr: null})
			if got.Lost != tt.lost || !errors.Is(got.Err, ErrNotRun) {
				t.Errorf("Run = %+v; want lost %v, not run", got, tt.lost)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("the command ran")
			}
		})
	}
}

func TestNoCommandIsAnError(t *testing.T) {
	if got := Run(t.Context(), Config{Lease: newLease(time.Hour)}); got.Err == nil {
		t.Errorf("Run = %+v; want an error", got)
	}
}

// What was sent before the command could hear it is delivered all the same.
func TestInterruptsFromBeforeTheStartAreDelivered(t *testing.T) {
	interrupts := make(chan os.Signal, 1)
	interrupts <- syscall.SIGTERM
	null := devNull(t)
	got := Run(t.Context(), Config{
		Args: []string{"sleep", "600"}, Lease: newLease(time.Hour), Interrupts: interrupts, Stdin: null, Stdout: null, Stderr: null,
	})
	if got.Lost || got.Code != 128+int(syscall.SIGTERM) {
		t.Errorf("Run = %+v; want ended by SIGTERM", got)
	}
}

func TestTheEndOfTheContextIsASIGTERM(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = bufio.NewReader(r).ReadString('\n')
		cancel()
	}()
	null := devNull(t)
	got := Run(ctx, Config{
		Args:  []string{"sh", "-c", "trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done"},
		Lease: newLease(time.Hour), Stdin: null, Stdout: w, Stderr: null,
	})
	if got.Lost || got.Code != 6 {
		t.Errorf("Run = %+v; want exit 6, not lost", got)
	}
}

// A command that was stopped, by Ctrl-Z say, must still end with the lease.
func TestAStoppedCommandEndsToo(t *testing.T) {
	l := newLease(time.Hour)
	pids, end := start(t, l, time.Minute, "echo $$; echo ready; kill -STOP $$; while :; do sleep 0.05; done")
	close(l.done)
	if got := <-end; !got.Lost || got.Code != 128+int(syscall.SIGTERM) {
		t.Errorf("Run = %+v; want lost, ended by SIGTERM", got)
	}
	mustBeGone(t, pids)
}

// The command closes all it was given; its end is noticed nevertheless.
func TestAClosedTerminalIsNoEnd(t *testing.T) {
	pids, end := start(t, newLease(time.Hour), 0, "echo $$; echo ready; exec </dev/null >/dev/null 2>&1; sleep 0.05; exit 8")
	if got := <-end; got.Code != 8 {
		t.Errorf("Run = %+v; want exit 8", got)
	}
	mustBeGone(t, pids)
}

// The command was told to end; a renewal that comes late does not save it.
func TestALateRenewalDoesNotSaveTheCommand(t *testing.T) {
	const grace = 5 * time.Second
	told := filepath.Join(t.TempDir(), "told")
	l := newLease(time.Hour)
	pids, end := start(t, l, grace, "trap ': >"+told+"' TERM; echo $$; echo ready; while :; do sleep 0.05; done")
	l.renew(grace)
	for renewed := false; ; {
		select {
		case got := <-end:
			if !got.Lost || got.Code != 128+int(syscall.SIGKILL) {
				t.Errorf("Run = %+v; want lost, ended by SIGKILL", got)
			}
			if !renewed {
				t.Error("the command was not told")
			}
			mustBeGone(t, pids)
			return
		case <-time.After(time.Millisecond):
			if _, err := os.Stat(told); err == nil && !renewed {
				l.renew(time.Hour)
				renewed = true
			}
		}
	}
}

// A deadline that comes closer counts at once: whoever takes the lock may not wait.
func TestASoonerEndIsHeardOf(t *testing.T) {
	l := newLease(time.Hour)
	sooner := make(chan struct{}, 1)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	null := devNull(t)
	end := make(chan Result, 1)
	s := &supervisor{look: time.Hour} // which has just looked
	s.cfg = Config{Args: []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"}, Lease: l, Sooner: sooner, Grace: time.Millisecond}
	s.cfg.Stdin, s.cfg.Stdout, s.cfg.Stderr = null, w, null
	if err := s.start(command(s.cfg), false); err != nil {
		t.Fatal(err)
	}
	go func() { end <- s.run(t.Context(), "sh") }()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	l.renew(0)
	sooner <- struct{}{}
	select {
	case got := <-end:
		if !got.Lost || got.Code != 128+int(syscall.SIGKILL) {
			t.Errorf("Run = %+v; want lost, ended by SIGKILL", got)
		}
	case <-time.After(time.Minute):
		t.Error("the command goes on")
		close(l.done)
		<-end
	}
}

// inTerminal makes this test binary run under a terminal of its own; see
// TestMain.
const inTerminal = "PRYTANY_TEST_IN_TERMINAL"

func TestMain(m *testing.M) {
	GuardMain()
	if os.Getenv(asSupervisor) != "" {
		superviseMain()
		os.Exit(0)
	}
	if os.Getenv(inTerminal) == "" {
		os.Exit(m.Run())
	}
	// The session leader on the terminal: a command that cannot be run, and
	// then two that read from the terminal. If the terminal were not given to
	// them, they would be stopped as background jobs; if it were not taken
	// back, the second could not have it.
	for _, args := range [][]string{{"/no/such/program"}, {"sh", "-c", "read x; echo got-$x"}, {"sh", "-c", "read x; echo got-$x"}} {
		r := Run(context.Background(), Config{Args: args, Lease: newLease(time.Hour)})
		_, _ = io.WriteString(os.Stdout, "code "+strconv.Itoa(r.Code)+"\n")
	}
	var line string
	in := bufio.NewScanner(os.Stdin)
	if in.Scan() { // the terminal is this process's again
		line = in.Text()
	}
	_, _ = io.WriteString(os.Stdout, "last "+line+"\n")
	os.Exit(0)
}

// lines collects what a terminal shows until it says want.
func lines(t *testing.T, in *bufio.Scanner, want string) {
	t.Helper()
	var seen []string
	for in.Scan() {
		seen = append(seen, in.Text())
		if strings.TrimSpace(in.Text()) == want {
			return
		}
	}
	t.Fatalf("the terminal never said %q: %q", want, seen)
}
