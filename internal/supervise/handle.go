//go:build unix

package supervise

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// sayWithin bounds how long the supervisor waits until a message is written.
	sayWithin = 100 * time.Millisecond
	// answerWithin is how long the guard may take for what takes it no time, when
	// the lease is over. Then it is stopped, or as good as.
	answerWithin = 2 * time.Second
	// byeWithin is how long it may take to say how the command ended: a guard that is
	// only slow must not cost an exit code.
	byeWithin = 30 * time.Second
	// killWithin is how long it may take at the end of the lease, when there is
	// no time left.
	killWithin = 100 * time.Millisecond
)

// A guardProcess is the guard as the supervisor sees it.
type guardProcess struct {
	w       *wire
	cmd     *exec.Cmd
	reports <-chan report // closed when the guard is gone
	gone    chan struct{} // closed when it is reaped
}

// start starts the guard and tells it what to do.
func (s *supervisor) start(cmd *exec.Cmd, foreground bool) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Close() }()
	w, err := newWire(ours)
	if err != nil {
		_ = ours.Close()
		return err
	}
	g := &guardProcess{w: w, gone: make(chan struct{})}
	g.cmd = &exec.Cmd{
		Path: selfPath(), Args: []string{os.Args[0], guardMark}, Env: []string{"GOMAXPROCS=1"},
		Stdin: theirs, SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := g.cmd.Start(); err != nil {
		_ = w.conn.Close()
		return err
	}
	go func() {
		defer close(g.gone)
		_ = g.cmd.Wait() // whatever it was, it is gone
	}()
	s.guard = g
	if err := g.brief(s, cmd, foreground); err != nil {
		g.end()
		return err
	}
	g.reports = g.listen()
	return nil
}

// selfPath is this program, also after its file has been replaced.
func selfPath() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// brief tells the guard what to run and for how long.
func (g *guardProcess) brief(s *supervisor, cmd *exec.Cmd, foreground bool) error {
	err := g.w.sendFiles(cmd.Stdin.(*os.File), cmd.Stdout.(*os.File), cmd.Stderr.(*os.File))
	if err != nil {
		return err
	}
	err = g.w.send(task{Path: cmd.Path, Args: cmd.Args, Env: cmd.Environ(), Foreground: foreground}, answerWithin)
	if err != nil {
		return err
	}
	o, _ := s.plan()
	return g.w.send(o, answerWithin)
}

func (g *guardProcess) listen() <-chan report {
	reports := make(chan report, 4) // all there are
	go func() {
		defer close(reports)
		for {
			var r report
			if g.w.dec.Decode(&r) != nil {
				return
			}
			reports <- r
		}
	}()
	return reports
}

// tell gives an order, and reports whether it was written. If the guard cannot hear
// it, that is noticed elsewhere.
func (g *guardProcess) tell(o order) bool { return g.w.send(o, sayWithin) == nil }

// await waits until the guard says that the command has ended, after it was told
// to kill it. One that does not is killed: until then what it has adopted lives.
func (g *guardProcess) await() (ended bool) {
	select {
	case _, ok := <-g.reports:
		return ok
	case <-time.After(killWithin):
		_ = g.cmd.Process.Kill()
		return false
	}
}

// bye takes leave of the guard after the command has ended, and returns how it
// did. It waits that long.
func (g *guardProcess) bye(within time.Duration) (st syscall.WaitStatus, lost, ok bool) {
	_ = g.w.conn.CloseWrite() // the guard takes it for a good-bye
	late := time.After(within)
	for {
		select {
		case r, open := <-g.reports:
			if !open {
				return 0, false, false
			}
			if r.Reaped {
				return r.Status, r.Lost, true
			}
		case <-late:
			_ = g.cmd.Process.Kill()
			return 0, false, false
		}
	}
}

// end makes sure that the guard is gone, and with it the command.
func (g *guardProcess) end() {
	_ = g.w.conn.Close()
	select {
	case <-g.gone:
	case <-time.After(answerWithin):
		_ = g.cmd.Process.Kill()
		<-g.gone
	}
}
