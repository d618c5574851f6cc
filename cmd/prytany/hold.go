package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/supervise"
)

// holdFlags are the flags that lock and elect share.
type holdFlags struct {
	noun     string // "lock" or "election"
	try      bool
	wait     time.Duration
	ttl      time.Duration
	grace    time.Duration
	note     string
	shell    string
	yield    string
	failCode int
	lostCode int
}

func (f *holdFlags) define(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVarP(&f.try, "no-wait", "n", false, "fail at once if somebody else has it")
	fl.DurationVarP(&f.wait, "wait", "w", 0, "fail if it is not acquired within this time, up to 5m")
	fl.DurationVar(&f.ttl, "ttl", 15*time.Second, "lease: how long it outlives a holder that fell silent")
	fl.DurationVar(&f.grace, "grace", 5*time.Second, "between SIGTERM and SIGKILL when the lease is in doubt")
	fl.StringVar(&f.note, "note", "", "shown to those who look")
	fl.StringVarP(&f.shell, "command", "c", "", "run this with /bin/sh -c")
	fl.StringVar(&f.yield, "yield-signal", "", "`signal` for the command when the holder is asked to let go: TERM, INT, HUP, USR1, USR2 or none (default: TERM if it will be taken away)")
	fl.IntVarP(&f.failCode, "conflict-exit-code", "E", cli.CodeNotAcquired, "exit code if it is not acquired")
	fl.IntVar(&f.lostCode, "lost-exit-code", cli.CodeLost, "exit code if the lease is lost")
	cmd.MarkFlagsMutuallyExclusive("no-wait", "wait")
}

// mostWait is the longest that the server lets a request queue.
const mostWait = 5 * time.Minute

// yieldSignals are the signals that a command may get when it is asked to let
// go.
var yieldSignals = map[string]syscall.Signal{
	"": 0, "none": 0, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// argv checks the flags and returns what to run.
func (f *holdFlags) argv(cmd *cobra.Command, argv []string) ([]string, error) {
	name := cmd.Name()
	help := "prytany " + name + " --help"
	switch {
	case cmd.ArgsLenAtDash() >= 0 && len(argv) == 0:
		return nil, cli.Usage("%s: there is no command after --", name).Try(help)
	case cmd.Flags().Changed("command"):
		if len(argv) > 0 {
			return nil, cli.Usage("%s: either -c or a command after --, not both", name).Try(help)
		}
		argv = []string{"/bin/sh", "-c", f.shell}
	}
	_, known := yieldSignals[strings.TrimPrefix(f.yield, "SIG")]
	switch {
	case f.wait < 0 || f.wait > mostWait:
		return nil, cli.Usage("%s: -w %s: want up to %s; without -w the wait is endless", name, f.wait, mostWait).Try("timeout 10m prytany " + name + " …")
	case f.grace < 0:
		return nil, cli.Usage("%s: --grace %s: want no less than nothing", name, f.grace).Try(help)
	case !known:
		return nil, cli.Usage("%s: --yield-signal %s: want TERM, INT, HUP, USR1, USR2 or none", name, f.yield).Try(help)
	case f.failCode < 0 || f.failCode > 255 || f.lostCode < 0 || f.lostCode > 255:
		return nil, cli.Usage("%s: an exit code is a number from 0 to 255", name).Try(help)
	}
	return argv, nil
}

// A tenure is the time for which a lock or an office is held.
type tenure struct {
	h      *client.Held
	c      *client.Client
	name   string
	argv   []string // empty: just hold
	env    []string
	f      holdFlags
	grant  api.Grant
	show   any  // printed instead of grant, if not nil
	quiet  bool // print nothing
	stop   bool // the user wants no other one
	until  atomic.Pointer[time.Time]
	sooner chan struct{}          // has room for one; until has been set
	reason atomic.Pointer[string] // for which it is taken away
}

// Deadline is the lease's, or when the server takes the lock away.
func (t *tenure) Deadline() time.Time {
	d := t.h.Deadline()
	if u := t.until.Load(); u != nil && u.Before(d) {
		return *u
	}
	return d
}

// Done is closed when the lock is over.
func (t *tenure) Done() <-chan struct{} { return t.h.Done() }

// serveTenure does what there is to do with the lock, and releases it.
func (a app) serveTenure(ctx context.Context, t *tenure) (code int, err error) {
	lost, what := false, "the command was stopped"
	heard, stop := context.WithCancel(ctx)
	defer stop()
	t.sooner = make(chan struct{}, 1)
	yields := make(chan os.Signal, 1)
	go a.hearYields(heard, t, yields)
	if len(t.argv) == 0 {
		what = "somebody else may hold it now"
		lost, err = a.hold(ctx, t)
	} else {
		code, lost, err = a.runUnder(ctx, t, yields)
	}
	cause := t.h.Err()
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	uerr := t.h.Unlock(release)
	switch {
	case err != nil:
		return 0, err
	case lost:
		return 0, cli.Failure(t.f.lostCode, "%s; %s", t.lostText(cause), what).Try(t.look())
	case uerr != nil && !errors.Is(uerr, client.ErrLockLost):
		a.Say("prytany: %s %s was not released: %v; it ends with its lease of %s", t.f.noun, t.name, strings.TrimPrefix(uerr.Error(), "prytany: "), t.f.ttl)
	}
	return code, nil
}

func (t *tenure) look() string {
	if t.f.noun == "election" {
		return "prytany leader " + cli.Shown(t.name)
	}
	return "prytany locks " + cli.Shown(t.name)
}

// lostText says how the lock was lost.
func (t *tenure) lostText(cause error) string {
	var l *client.LostError
	switch r := t.reason.Load(); {
	case errors.As(cause, &l) && l.Reason != "":
		return fmt.Sprintf("%s %s was taken away (%s)", t.f.noun, t.name, l.Reason)
	case r != nil:
		return fmt.Sprintf("%s %s had to be yielded%s", t.f.noun, t.name, *r)
	}
	return fmt.Sprintf("the lease of %s %s was lost", t.f.noun, t.name)
}

// hearYields tells the user and the command that the lock is wanted back.
func (a app) hearYields(ctx context.Context, t *tenure, signals chan<- os.Signal) {
	sig := yieldSignals[strings.TrimPrefix(t.f.yield, "SIG")]
	for {
		var y client.YieldRequest
		select {
		case <-ctx.Done():
			return
		case y = <-t.h.Yield():
		}
		text := ""
		if y.Reason != "" {
			text = ": " + y.Reason
		}
		if y.Within == 0 {
			a.Say("prytany: asked to yield %s %s%s", t.f.noun, t.name, text)
		} else {
			t.reason.Store(&text)
			u := t.end(ctx, y.Within)
			t.until.Store(&u)
			select {
			case t.sooner <- struct{}{}:
			default:
			}
			a.Say("prytany: asked to yield %s %s within %s%s; then it is taken away", t.f.noun, t.name, cli.Round(y.Within), text)
			if t.f.yield == "" {
				sig = syscall.SIGTERM
			}
		}
		if sig != 0 {
			select {
			case signals <- sig:
			default: // the last one has not been heard yet
			}
		}
	}
}

// end returns when the server takes the lock away, or a little earlier. The
// request may have been told late, so the server is asked how much time is left.
func (t *tenure) end(ctx context.Context, within time.Duration) time.Time {
	const margin = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, min(within/4, 2*time.Second))
	defer cancel()
	sent := time.Now()
	l, err := cli.Fetch[api.Lock](ctx, t.c, client.Call{Path: "locks/" + client.EscapeName(t.name)})
	if err == nil && l.Yield != nil && l.Yield.RemainingMS != nil {
		return sent.Add(time.Duration(*l.Yield.RemainingMS)*time.Millisecond - margin)
	}
	return sent.Add(within/2 - margin)
}

// hold keeps the lock until a signal comes or it is lost.
func (a app) hold(ctx context.Context, t *tenure) (lost bool, err error) {
	if !t.quiet {
		v := t.show
		if v == nil {
			v = t.grant
		}
		if err := a.PrintJSON(v); err != nil {
			return false, err
		}
	}
	select {
	case <-ctx.Done():
		t.stop = true
		return false, nil
	case <-t.h.Done():
		return true, nil
	}
}

// runUnder runs the command while the lock lasts.
func (a app) runUnder(ctx context.Context, t *tenure, yields <-chan os.Signal) (code int, lost bool, err error) {
	interrupts, ok := a.Signals.Divert()
	if !ok {
		sig, _ := cli.SignalOf(ctx)
		return 0, false, cli.Failure(sig.Code(), "%v before the command was run", sig)
	}
	defer a.Signals.Reclaim()
	both := make(chan os.Signal, 16)
	done := make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		for {
			var sig os.Signal
			select {
			case <-done:
				return
			case sig = <-interrupts:
				t.stop = true
			case sig = <-yields:
			}
			select {
			case both <- sig:
			case <-done:
				return
			}
		}
	}()
	cfg := supervise.Config{
		Args: t.argv, Env: append(os.Environ(), t.env...),
		Lease: t, Sooner: t.sooner, Grace: max(t.f.grace, 1), Stdin: a.Stdin, Interrupts: both,
	}
	if out, ok := a.Stdout.(*os.File); ok {
		cfg.Stdout = out
	}
	if errOut, ok := a.Stderr.(*os.File); ok {
		cfg.Stderr = errOut
	}
	res := supervise.Run(ctx, cfg)
	close(done)
	<-forwarded
	if res.Lost {
		return 0, true, nil
	}
	return res.Code, false, a.runError(t, res)
}

// runError says why a command was not run, or not to its end.
func (a app) runError(t *tenure, res supervise.Result) error {
	prog := t.argv[0]
	switch {
	case res.Err == nil:
		return nil
	case errors.Is(res.Err, supervise.ErrGuardDied):
		return cli.Failure(res.Code, "the guard of %s was killed, and the command with it if it had begun", prog)
	case errors.Is(res.Err, supervise.ErrNoGuard):
		return cli.Failure(res.Code, "%s was not run: %v", prog, res.Err)
	case res.Code == supervise.CodeNotFound:
		return cli.Failure(res.Code, "there is no program %s", prog).
			Try("prytany " + map[bool]string{true: "lock ", false: "elect "}[t.f.noun == "lock"] + cli.Shown(t.name) + " -c '" + strings.Join(t.argv, " ") + "' if it is a shell command")
	}
	return cli.Failure(res.Code, "cannot run %s: %v", prog, cli.RootCause(res.Err)).Try("ls -l " + prog)
}
