//go:build unix

// Package supervise runs a command only while a lease holds.
//
// The command gets a process group of its own. When the lease is in doubt the
// whole group is told to end (SIGTERM) one grace period before the lease's
// local deadline, and is killed (SIGKILL) at the deadline, which lies before
// the moment at which the server may grant the lock to somebody else. Signals
// that the supervisor gets are passed on to the group. When the command has
// ended, whatever it left behind in its group is killed: the lock is about to
// be released, and nothing may work on without it.
//
// A supervisor that is itself stopped or killed cannot keep this promise for
// processes other than its direct child, which the kernel kills with it where
// it can (Linux); nor can it reach a process that left the group by setsid or
// setpgid. That is what fences are for.
//
// If stdin is the terminal of this process, the command's group becomes the
// terminal's foreground group, so that the command can read from it. Ctrl-Z
// then stops the command alone: the supervisor keeps the terminal and renews
// the lease, and the command goes on at a SIGCONT.
package supervise

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// A Lease is what the command depends on.
type Lease interface {
	// Deadline is the local instant at which the lease ends unless it is
	// renewed; it moves with each renewal. It counts suspended time.
	Deadline() time.Time
	// Done is closed when the lease is over for another reason: released,
	// expired, broken.
	Done() <-chan struct{}
}

// Config says what to run and how. Fields without a stated default are
// required.
type Config struct {
	Args  []string // the program and its arguments; no shell is involved
	Env   []string // nil means that of this process
	Lease Lease
	// Grace lies between SIGTERM and the lease's deadline. 0 means 5 s. It is
	// cut to half of what is left of the lease when the command starts.
	Grace time.Duration
	// Interrupts are passed on to the command. nil means that SIGINT, SIGTERM
	// and SIGHUP are taken from the system, as the other signals always are.
	// With a channel that is filled from before the lease was acquired, none of
	// them gets lost on the way here.
	Interrupts <-chan os.Signal
	// Stdin, Stdout and Stderr are the command's. nil means this process's.
	Stdin, Stdout, Stderr *os.File
}

// A Result tells how the command ended.
type Result struct {
	// Code is the command's exit code, or 128 plus the number of the signal
	// that ended it; 126 and 127 if it could not be executed or found.
	Code int
	// Lost says that the lease ended, or came into doubt, before the command
	// ended. If that was before it started, it was not run.
	Lost bool
	// Err says why the command was not run; else nil.
	Err error
}

// ErrNotRun says that the lease or the context was over before the command
// was started.
var ErrNotRun = errors.New("it was too late to run the command")

// Exit codes of commands that could not be started, as in env(1).
const (
	CodeNotExecutable = 126
	CodeNotFound      = 127
)

// lookEvery bounds the time for which a timer alone is relied on: timers stand
// still while the machine sleeps, leases do not.
const lookEvery = 500 * time.Millisecond

// interrupts are the signals by which people end programs; asides are the
// others that are passed on.
var (
	interrupts = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	asides     = []os.Signal{syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH}
)

// Run runs the command until it ends, the lease is lost, or ctx ends, which is
// treated like a SIGTERM from outside. When it returns, every process of the
// command's group has ended or got SIGKILL.
func Run(ctx context.Context, cfg Config) Result {
	if len(cfg.Args) == 0 {
		return Result{Code: CodeNotFound, Err: errors.New("there is no command")}
	}
	if cfg.Grace == 0 {
		cfg.Grace = 5 * time.Second
	}
	left := time.Until(cfg.Lease.Deadline())
	if cfg.Grace > left/2 {
		cfg.Grace = max(left/2, 0)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, asides...)
	if cfg.Interrupts == nil {
		signal.Notify(signals, interrupts...)
	}
	defer signal.Stop(signals)
	switch {
	case left <= 0 || isClosed(cfg.Lease.Done()):
		return Result{Code: 128 + int(syscall.SIGTERM), Lost: true, Err: ErrNotRun}
	case ctx.Err() != nil:
		return Result{Code: 128 + int(syscall.SIGTERM), Err: ErrNotRun}
	}

	cmd := command(cfg)
	tty := foreground(cmd, cfg.Stdin)
	defer tty.restore() // also if exec failed: the terminal was handed over before
	exited := make(chan struct{})
	started := make(chan error, 1)
	go func() {
		// The kernel's death signal goes with the thread that started the
		// command, so that thread must live as long as the command.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			awaitExit(cmd)
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return Result{Code: startCode(err), Err: err}
	}
	s := &supervisor{cfg: cfg, pid: cmd.Process.Pid, signals: signals, exited: exited}
	s.loop(ctx)
	s.signal(syscall.SIGKILL) // whatever is left in the group
	if cmd.ProcessState == nil {
		_ = cmd.Wait() // its verdict is in ProcessState
	}
	return Result{Code: exitCode(cmd.ProcessState), Lost: s.lost}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func command(cfg Config) *exec.Cmd {
	cmd := exec.Command(cfg.Args[0], cfg.Args[1:]...)
	cmd.Env = cfg.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	if cfg.Stdin == nil {
		cmd.Stdin = os.Stdin
	}
	if cfg.Stdout == nil {
		cmd.Stdout = os.Stdout
	}
	if cfg.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	cmd.SysProcAttr = sysProcAttr()
	return cmd
}

// A supervisor watches one running command.
type supervisor struct {
	cfg     Config
	pid     int // also the process group
	signals <-chan os.Signal
	exited  <-chan struct{}
	lost    bool
}

// loop returns when the command has ended.
func (s *supervisor) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	outside := ctx.Done()
	for {
		select {
		case <-s.exited:
			return
		case sig := <-s.signals:
			s.pass(sig)
		case sig := <-s.cfg.Interrupts:
			s.pass(sig)
		case <-outside:
			s.signal(syscall.SIGTERM)
			outside = nil
		case <-s.cfg.Lease.Done():
			s.end()
			return
		case <-timer.C:
			left := time.Until(s.cfg.Lease.Deadline()) - s.cfg.Grace
			if left <= 0 {
				s.end()
				return
			}
			timer.Reset(min(left, lookEvery))
		}
	}
}

// end stops the group: SIGTERM now, SIGKILL when the grace is over or at the
// deadline, whatever renewals come in between.
func (s *supervisor) end() {
	s.lost = true
	deadline := time.Now().Add(s.cfg.Grace)
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGCONT) // a stopped process must see it too
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.exited:
			return
		case sig := <-s.signals:
			s.pass(sig)
		case sig := <-s.cfg.Interrupts:
			s.pass(sig)
		case <-timer.C:
			left := min(time.Until(deadline), time.Until(s.cfg.Lease.Deadline()))
			if left <= 0 {
				s.signal(syscall.SIGKILL)
				<-s.exited
				return
			}
			timer.Reset(min(left, lookEvery))
		}
	}
}

// pass passes on what came from outside.
func (s *supervisor) pass(sig os.Signal) {
	if sig, ok := sig.(syscall.Signal); ok {
		s.signal(sig)
	}
}

// signal sends sig to the whole group. That the group is gone is no error.
func (s *supervisor) signal(sig syscall.Signal) { _ = syscall.Kill(-s.pid, sig) }

func startCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return CodeNotFound
	}
	return CodeNotExecutable
}

func exitCode(st *os.ProcessState) int {
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return st.ExitCode()
}
