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
// # The guard
//
// A supervisor that is stopped (SIGSTOP) or killed (SIGKILL) can do none of
// this. So the command is started by a second process, the guard: this program
// again, in a process group of its own, which no signal for the supervisor or
// its group reaches. It knows the deadline, by a clock that all processes of the
// machine share and that counts suspended time, and hears of every renewal. If
// the supervisor does not act in time, the guard does; if the connection to the
// supervisor breaks, it kills the command at once. If on the other hand the
// guard dies, the kernel kills the command with it (Linux) and the supervisor
// kills the rest of the group; if the guard is stopped, the supervisor ends the
// command in time all the same, but hears only from a guard that goes on that it
// ended by itself. A guard that cannot be started means that the command
// is not run.
//
// The guard is the command's parent and reaps it only when the supervisor has
// said good-bye or is gone, and the supervisor sends no signal after its
// good-bye: until then the number of the group cannot belong to anybody else, so
// no foreign process is ever hit. On Linux the guard is also the reaper of all
// orphans among the command's descendants. When it has to kill, it kills those
// too that left the group by setsid or setpgid, as the jobs of an interactive
// shell do. They get no SIGTERM. If the guard dies they are the supervisor's,
// which does the same; so a process that calls [Run] should have no other
// children in groups of their own meanwhile. After a normal end they are left
// alone: that is how daemons are started.
//
// The guard sleeps between orders and deadlines, keeps none of the command's
// files open beside what every process inherits, and ends with the command.
//
// # What remains impossible
//
// Nothing is stopped while supervisor and guard are both stopped or killed at
// the same instant (then the kernel kills the direct child, on Linux), while the
// whole machine or container is frozen (what was due happens at once when it
// goes on, but the command goes on in the same instant), or in a process that
// the kernel cannot kill because it waits for a disk. No supervisor stops a
// write that is on its way already. Outside Linux a process that left the group
// is not found, and the number of a group whose guard died might in theory be
// somebody else's by the time it is killed. That is what fences are for.
//
// # Terminals
//
// If stdin is the terminal of this process, the command's group becomes the
// terminal's foreground group, so that the command can read from it. Ctrl-Z
// then stops the command alone: the supervisor keeps the terminal and renews
// the lease, and the command goes on at a SIGCONT.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
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
	// Sooner says that the lease's deadline may have come closer. nil means that it
	// never does. Without it that is noticed half a second later.
	Sooner <-chan struct{}
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
	// Err says why the command was not run, or is ErrGuardDied; else nil.
	Err error
}

// The errors that are not those of starting a program.
var (
	// ErrNotRun says that the lease or the context was over before the command
	// was started.
	ErrNotRun = errors.New("it was too late to run the command")
	// ErrNoGuard says that the command was not run because nobody could guard it.
	ErrNoGuard = errors.New("its guard could not be started")
	// ErrGuardDied says that the command was killed because its guard was, or, if
	// that was while it was started, that it may not have run at all.
	ErrGuardDied = errors.New("its guard died")
)

// Exit codes of commands that could not be started, as in env(1).
const (
	CodeNoGuard       = 125
	CodeNotExecutable = 126
	CodeNotFound      = 127
)

// lookEvery bounds the time for which a timer alone is relied on: timers stand
// still while the machine sleeps, leases do not. It is also how old the guard's
// news of a renewal may be; short leases are looked at more often.
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
	if cmd.Err != nil {
		return Result{Code: startCode(cmd.Err), Err: cmd.Err}
	}
	adopt()
	s := &supervisor{cfg: cfg, signals: signals, look: min(max(left/20, 10*time.Millisecond), lookEvery)}
	tty := foreground(cmd.Stdin.(*os.File))
	defer tty.restore() // also if exec failed: the terminal was handed over before
	if err := s.start(cmd, tty != nil); err != nil {
		return Result{Code: CodeNoGuard, Err: fmt.Errorf("%w: %w", ErrNoGuard, err)}
	}
	return s.run(ctx, cmd.Path)
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
	return cmd
}

// A supervisor watches one running command.
type supervisor struct {
	cfg     Config
	look    time.Duration // how often it looks at the lease
	signals <-chan os.Signal
	guard   *guardProcess
	pid     int // of the command, also its process group
	born    uint64
	told    time.Duration // the last deadline that the guard heard of
	lost    bool
}

// run returns when the command has ended.
func (s *supervisor) run(ctx context.Context, path string) Result {
	defer disown()
	defer s.guard.end()
	r, begun, ok := s.started()
	switch err := r.err(path); {
	case !ok && begun:
		s.guard.end() // what the command has begun is handed over when it is gone
		killOrphans()
		return Result{Code: 128 + int(syscall.SIGKILL), Lost: s.lost, Err: ErrGuardDied}
	case !ok && s.lost, r.Late:
		return Result{Code: 128 + int(syscall.SIGTERM), Lost: true, Err: ErrNotRun}
	case !ok:
		return Result{Code: CodeNoGuard, Err: fmt.Errorf("%w: it died", ErrNoGuard)}
	case err != nil:
		return Result{Code: startCode(err), Err: err}
	}
	s.pid, s.born = r.Pid, born(r.Pid)
	if s.loop(ctx) && !s.lost {
		disown() // before the guard ends: what the command leaves behind is a daemon
	}
	within := byeWithin
	if s.lost {
		within = answerWithin
	}
	st, lost, ok := s.guard.bye(within)
	if !ok {
		s.orphaned()
		if s.lost {
			return Result{Code: 128 + int(syscall.SIGKILL), Lost: true}
		}
		return Result{Code: 128 + int(syscall.SIGKILL), Err: ErrGuardDied}
	}
	return Result{Code: exitCode(st), Lost: s.lost || lost}
}

// started waits until the guard has started the command, or has said why not, or
// has died, and reports whether it has begun to. A guard that says nothing for long
// when the lease is over is killed: nothing else tells whether it has begun. If it has,
// that is at the lease's deadline, or the command would outlive it.
func (s *supervisor) started() (r report, begun, ok bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	over := s.cfg.Lease.Done()
	var late <-chan time.Time
	hurry := func() {
		within := answerWithin
		if begun {
			within = max(min(within, time.Until(s.cfg.Lease.Deadline())), killWithin)
		}
		over, late = nil, time.After(within)
	}
	for {
		select {
		case r, ok = <-s.guard.reports:
			if !r.Begun {
				return r, begun, ok
			}
			begun = true
			if late != nil {
				hurry()
			}
		case <-over:
			hurry()
		case <-late:
			s.lost = true
			_ = s.guard.cmd.Process.Kill()
		case <-timer.C:
			left := time.Until(s.cfg.Lease.Deadline())
			if left > 0 {
				timer.Reset(min(left, s.look))
			} else if late == nil || begun {
				hurry()
			}
		}
	}
}

// loop returns when the command has ended or the guard does not say so: it has
// died, or is stopped and the lease over.
func (s *supervisor) loop(ctx context.Context) (ended bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	outside := ctx.Done()
	for {
		select {
		case _, ok := <-s.guard.reports:
			return ok
		case sig := <-s.signals:
			s.pass(sig)
		case sig := <-s.cfg.Interrupts:
			s.pass(sig)
		case <-outside:
			s.signal(syscall.SIGTERM)
			outside = nil
		case <-s.cfg.Sooner:
			timer.Reset(0)
		case <-s.cfg.Lease.Done():
			return s.end()
		case <-timer.C:
			left := s.renew()
			if left <= 0 {
				return s.end()
			}
			timer.Reset(min(left, s.look))
		}
	}
}

// plan says by when the command must end. The clock is read first: if this
// process is stopped on the way, the plan is too early, never too late. The
// guard's SIGTERM comes when half of the grace has passed without one from here.
func (s *supervisor) plan() (order, time.Duration) {
	now := clock()
	left := time.Until(s.cfg.Lease.Deadline())
	kill := now + left
	return order{Term: kill - s.cfg.Grace/2, Kill: kill}, left - s.cfg.Grace
}

// renew tells the guard of renewals, and returns how long the command may run
// without another one. The same deadline comes out a few microseconds different
// each time: that is no reason to wake the guard.
func (s *supervisor) renew() time.Duration {
	o, left := s.plan()
	if (o.Kill-s.told).Abs() > time.Millisecond && s.guard.tell(o) {
		s.told = o.Kill
	}
	return left
}

// end stops the group: SIGTERM now, SIGKILL when the grace is over or at the
// deadline, whatever renewals come in between.
func (s *supervisor) end() (ended bool) {
	s.lost = true
	o, _ := s.plan()
	deadline := min(clock()+s.cfg.Grace, o.Kill)
	s.guard.tell(order{End: true, Kill: deadline})
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGCONT) // a stopped process must see it too
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-s.guard.reports:
			return ok
		case sig := <-s.signals:
			s.pass(sig)
		case sig := <-s.cfg.Interrupts:
			s.pass(sig)
		case <-s.cfg.Sooner:
			timer.Reset(0)
		case <-timer.C:
			o, _ := s.plan()
			left := min(deadline, o.Kill) - clock()
			if left <= 0 {
				s.guard.tell(order{End: true, Kill: clock()})
				s.signal(syscall.SIGKILL)
				return s.guard.await()
			}
			timer.Reset(min(left, s.look))
		}
	}
}

// orphaned kills what the kernel has left of the group after the death of the
// guard, unless the group's number belongs to somebody else by now, and then
// what has become this process's.
func (s *supervisor) orphaned() {
	if now := born(s.pid); now == 0 || now == s.born {
		s.signal(syscall.SIGKILL)
	}
	s.guard.end() // its children are handed over when it is gone
	killOrphans()
}

// pass passes on what came from outside. A command that is stopped, for it
// reads from a terminal in the background, say, must see what is to end it.
func (s *supervisor) pass(sig os.Signal) {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	s.signal(number)
	switch number {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
		s.signal(syscall.SIGCONT)
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

func exitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
