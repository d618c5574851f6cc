//go:build unix

package supervise

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// guardMark is the argument that makes a process a guard.
const guardMark = "__guard"

// GuardMain does nothing, unless this process was started to be the guard of a
// command: then it is one, and does not return. Programs that call [Run] call
// it before they do anything else.
func GuardMain() {
	if len(os.Args) != 2 || os.Args[1] != guardMark {
		return
	}
	w, err := newWire(os.Stdin)
	if err != nil {
		return // somebody typed it
	}
	// The kernel's death signal goes with the thread that starts the command:
	// this one, the last to end.
	runtime.LockOSThread()
	os.Exit(guard(w))
}

// A guarded command is one that this process started and ends in time.
type guarded struct {
	w      *wire
	cmd    *exec.Cmd
	alarm  *alarm
	plan   order
	orders <-chan order // closed when the supervisor says good-bye, or is gone
	exited chan struct{}
	told   bool // SIGTERM was sent, by whomever
	lost   bool
}

// guard is the life of a guard.
func guard(w *wire) (code int) {
	children := catchSignals()
	adopt()
	g := &guarded{w: w, exited: make(chan struct{})}
	var err error
	if g.alarm, err = newAlarm(); err != nil {
		return g.refuse(err)
	}
	files, err := w.receiveFiles(3)
	if err != nil {
		return g.refuse(err)
	}
	var t task
	if err := errors.Join(w.dec.Decode(&t), w.dec.Decode(&g.plan)); err != nil {
		return g.refuse(err)
	}
	if clock() >= g.plan.Term {
		_ = w.enc.Encode(report{Late: true})
		return 1
	}
	if err := w.enc.Encode(report{Begun: true}); err != nil {
		return 1 // the supervisor is gone
	}
	if err := g.start(t, files); err != nil {
		return g.refuse(err)
	}
	if w.enc.Encode(report{Pid: g.cmd.Process.Pid}) != nil {
		g.kill() // the supervisor is gone, as the orders will say
	}
	g.orders = listen(w)
	g.watch(children)
	g.finish()
	return 0
}

// catchSignals makes the guard deaf to what ends other programs: it goes with
// its supervisor. The command inherits nothing of that: what is caught is as
// before after an exec, which what is ignored is not. The channel gets SIGCHLD.
func catchSignals() <-chan os.Signal {
	deaf := make(chan os.Signal, 1) // nobody receives
	for _, sig := range []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE,
	} {
		if !signal.Ignored(sig) {
			signal.Notify(deaf, sig)
		}
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	return children
}

// refuse says why the command was not started.
func (g *guarded) refuse(err error) int {
	r := report{Text: err.Error()}
	errors.As(err, &r.Errno)
	_ = g.w.enc.Encode(r)
	return 1
}

// start starts the command and lets go of all that is its own.
func (g *guarded) start(t task, files []*os.File) error {
	g.cmd = &exec.Cmd{
		Path: t.Path, Args: t.Args, Env: t.Env,
		Stdin: files[0], Stdout: files[1], Stderr: files[2],
		SysProcAttr: sysProcAttr(),
	}
	if t.Foreground {
		g.cmd.SysProcAttr.Foreground = true
		g.cmd.SysProcAttr.Ctty = int(files[0].Fd())
	}
	if err := g.cmd.Start(); err != nil {
		return err
	}
	for _, f := range files {
		_ = f.Close()
	}
	_ = os.Chdir("/") // keeps no file system busy
	go func() {
		awaitExit(g.cmd)
		close(g.exited)
	}()
	return nil
}

// listen passes on what the supervisor orders.
func listen(w *wire) <-chan order {
	orders := make(chan order)
	go func() {
		defer close(orders)
		for {
			var o order // anew: what is zero is not sent
			if w.dec.Decode(&o) != nil {
				return
			}
			orders <- o
		}
	}()
	return orders
}

// watch returns when the command has ended.
func (g *guarded) watch(children <-chan os.Signal) {
	for {
		if g.due() {
			return
		}
		select {
		case <-g.exited:
			return
		case <-children:
			reap(g.cmd.Process.Pid)
		case <-g.alarm.C:
		case o, ok := <-g.orders:
			switch {
			case !ok:
				g.kill()
				return
			case o.End:
				g.told, g.lost = true, true
				g.plan.Kill = min(g.plan.Kill, o.Kill)
			case !g.told: // a renewal that comes late saves nobody
				g.plan = o
			}
		}
	}
}

// due does what the clock asks for, and sets the alarm. It reports whether that
// was the last.
func (g *guarded) due() bool {
	now := clock()
	if now >= g.plan.Kill {
		g.kill()
		return true
	}
	if now >= g.plan.Term && !g.told {
		g.told, g.lost = true, true
		g.signal(syscall.SIGTERM)
		g.signal(syscall.SIGCONT) // a stopped process must see it too
	}
	next := g.plan.Kill
	if !g.told {
		next = g.plan.Term
	}
	if g.alarm.set(next) != nil {
		g.kill() // better too early than never
		return true
	}
	return false
}

// kill ends the command and all that came of it, and waits for that.
func (g *guarded) kill() {
	g.lost = true
	g.signal(syscall.SIGKILL)
	killAll(g.cmd.Process.Pid)
	<-g.exited
}

// signal sends sig to the command's group, whose number is the command's id and
// hence nobody else's before the command is reaped.
func (g *guarded) signal(sig syscall.Signal) { _ = syscall.Kill(-g.cmd.Process.Pid, sig) }

// finish clears away what the command left in its group, tells that it ended,
// reaps it when the supervisor sends no more signals, and tells how it ended.
func (g *guarded) finish() {
	g.signal(syscall.SIGKILL)
	if g.lost {
		killAll(g.cmd.Process.Pid)
	}
	if g.w.enc.Encode(report{Ended: true}) == nil {
		for range g.orders { // until the supervisor says good-bye, or is gone
		}
	}
	if g.cmd.ProcessState == nil {
		_ = g.cmd.Wait() // its verdict is in ProcessState
	}
	if st, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		_ = g.w.enc.Encode(report{Reaped: true, Status: st, Lost: g.lost})
	}
}
