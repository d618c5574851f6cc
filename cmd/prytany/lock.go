package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/supervise"
)

// lockFlags are the flags of `prytany lock`.
type lockFlags struct {
	try      bool
	wait     time.Duration
	ttl      time.Duration
	grace    time.Duration
	note     string
	shell    string
	failCode int
	lostCode int
}

func (a *app) lockCommand() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] [-- CMD [ARG…]]",
		Short: "Run a command while holding a lock",
		Long: `Runs CMD while holding the lock NAME, and no longer: when the lease is in doubt the command gets SIGTERM, and
SIGKILL before the server may give the lock to anybody else. CMD runs in a process group of its own, without a shell
unless -c is used; signals are passed on; its exit code is passed through.

CMD finds PRYTANY_LOCK_NAME, PRYTANY_LOCK_FENCE and PRYTANY_LOCK_SESSION in its environment. Pass the fence to what you
write to, and have it refuse smaller ones: no supervisor can stop a write that is on its way already.

Without CMD the lock is held until a signal comes; the grant is printed as JSON.

Exit codes: CMD's own; 75 the lease was lost and CMD was stopped; 124 not acquired (-n, -w); 125 failed before CMD was
run; 126, 127 CMD could not be run or found.`,
		Example: "  prytany lock nightly -- ./job.sh\n  prytany lock nightly -n -- ./job.sh\n  prytany lock deploy -w 30s -c 'make && make deploy'",
		Args: func(cmd *cobra.Command, args []string) error {
			before := cmd.ArgsLenAtDash()
			if before < 0 {
				before = len(args)
			}
			return rangeArgs(1, 1, "NAME")(cmd, args[:before])
		},
		ValidArgsFunction: a.completeLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			argv := args[1:]
			if f.shell != "" {
				if len(argv) > 0 {
					return usage("lock: either -c or a command after --, not both").try("prytany lock --help")
				}
				argv = []string{"/bin/sh", "-c", f.shell}
			}
			if err := f.check(); err != nil {
				return err
			}
			code, err := a.lock(cmd.Context(), args[0], argv, f)
			a.code = code
			return err
		},
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.try, "no-wait", "n", false, "fail at once if the lock is held")
	fl.DurationVarP(&f.wait, "wait", "w", 0, "fail if the lock is not acquired within this time, up to 5m")
	fl.DurationVar(&f.ttl, "ttl", 15*time.Second, "lease: how long the lock outlives a holder that fell silent")
	fl.DurationVar(&f.grace, "grace", 5*time.Second, "between SIGTERM and SIGKILL when the lease is in doubt")
	fl.StringVar(&f.note, "note", "", "shown to those who look at the lock")
	fl.StringVarP(&f.shell, "command", "c", "", "run this with /bin/sh -c")
	fl.IntVarP(&f.failCode, "conflict-exit-code", "E", codeNotAcquired, "exit code if the lock is not acquired")
	fl.IntVar(&f.lostCode, "lost-exit-code", codeLost, "exit code if the lease is lost")
	cmd.MarkFlagsMutuallyExclusive("no-wait", "wait")
	return cmd
}

// mostWait is the longest that the server lets a request queue.
const mostWait = 5 * time.Minute

func (f lockFlags) check() error {
	switch {
	case f.wait < 0 || f.wait > mostWait:
		return usage("lock: -w %s: want up to %s; without -w the wait is endless", f.wait, mostWait).try("timeout 10m prytany lock …")
	case f.grace < 0:
		return usage("lock: --grace %s: want no less than nothing", f.grace).try("prytany lock --help")
	case f.failCode < 0 || f.failCode > 255 || f.lostCode < 0 || f.lostCode > 255:
		return usage("lock: an exit code is a number from 0 to 255").try("prytany lock --help")
	}
	return nil
}

// lock acquires name, runs argv under it and releases it. The code is that of
// the whole command if err is nil.
func (a *app) lock(ctx context.Context, name string, argv []string, f lockFlags) (int, error) {
	c, err := a.clientWith(f.ttl, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }() // leaves the queue, too
	h, err := a.acquire(ctx, c, name, f)
	if err != nil {
		return 0, a.lockError(ctx, err, name, f)
	}
	code, lost, what := 0, false, "the command was stopped"
	if len(argv) == 0 {
		what = "somebody else may hold it now"
		lost, err = a.hold(ctx, h)
	} else {
		code, lost, err = a.runUnder(ctx, h, argv, f)
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	uerr := h.Unlock(release)
	switch {
	case err != nil:
		return 0, err
	case lost:
		return 0, failure(f.lostCode, "the lease of lock %s was lost; %s", name, what).try("prytany locks " + name)
	case uerr != nil:
		a.say("prytany: lock %s was not released: %v; it ends with its lease of %s", name, strings.TrimPrefix(uerr.Error(), "prytany: "), f.ttl)
	}
	return code, nil
}

// acquire tries first, so that it can say whom it waits for, and then waits.
func (a *app) acquire(ctx context.Context, c *client.Client, name string, f lockFlags) (*client.Held, error) {
	h, err := c.Acquire(ctx, name, client.Options{Try: true, Note: f.note})
	if f.try || !errors.Is(err, client.ErrHeld) {
		return h, err
	}
	var p *client.ProblemError
	if errors.As(err, &p) {
		a.say("waiting for %s: %s", name, heldText(p, p.Detail))
	}
	return c.Acquire(ctx, name, client.Options{Wait: f.wait, Note: f.note})
}

// lockError gives a failed acquisition its exit code.
func (a *app) lockError(ctx context.Context, err error, name string, f lockFlags) error {
	e := a.classify(err)
	sig, interrupted := signalOf(ctx)
	switch {
	case interrupted:
		return failure(sig.code(), "%v while waiting for lock %s", sig, name)
	case errors.Is(err, client.ErrSessionExpired):
		return failure(codeBeforeExec, "the session was lost while waiting for lock %s: the cluster could not be reached for %s", name, f.ttl).try("prytany status")
	case errors.Is(err, client.ErrHeld) && f.try:
		return failure(f.failCode, "lock %s: %s", name, e.text).try("prytany locks " + name)
	case errors.Is(err, client.ErrHeld):
		return failure(f.failCode, "lock %s was not acquired within %s: %s", name, f.wait, e.text).try("prytany locks " + name)
	case e.code == codeUsage:
		return e
	}
	return failure(codeBeforeExec, "lock %s was not acquired: %s", name, e.text).try(e.hint)
}

// hold keeps the lock until a signal comes or it is lost.
func (a *app) hold(ctx context.Context, h *client.Held) (lost bool, err error) {
	left := h.Session().Remaining().Milliseconds()
	grant := api.Grant{
		Name: h.Name(), Session: h.Session().ID(), Fence: h.Fence(), Mode: api.ModeExclusive,
		ExpiresInMS: &left, WaitedMS: h.Waited().Milliseconds(),
	}
	if err := a.printJSON(grant); err != nil {
		return false, err
	}
	select {
	case <-ctx.Done():
		return false, nil
	case <-h.Done():
		return true, nil
	}
}

// runUnder runs argv while h lasts.
func (a *app) runUnder(ctx context.Context, h *client.Held, argv []string, f lockFlags) (code int, lost bool, err error) {
	interrupts, ok := a.signals.divert()
	if !ok {
		sig, _ := signalOf(ctx)
		return 0, false, failure(sig.code(), "%v before the command was run", sig)
	}
	defer a.signals.reclaim()
	cfg := supervise.Config{
		Args: argv,
		Env: append(os.Environ(),
			"PRYTANY_LOCK_NAME="+h.Name(),
			fmt.Sprintf("PRYTANY_LOCK_FENCE=%d", h.Fence()),
			"PRYTANY_LOCK_SESSION="+h.Session().ID()),
		Lease: h, Grace: max(f.grace, 1), Stdin: a.stdin, Interrupts: interrupts,
	}
	if out, ok := a.stdout.(*os.File); ok {
		cfg.Stdout = out
	}
	if errOut, ok := a.stderr.(*os.File); ok {
		cfg.Stderr = errOut
	}
	res := supervise.Run(ctx, cfg)
	switch {
	case res.Lost:
		return 0, true, nil
	case res.Code == supervise.CodeNotFound && res.Err != nil:
		return 0, false, failure(res.Code, "there is no program %s", argv[0]).try("prytany lock " + h.Name() + " -c '" + strings.Join(argv, " ") + "' if it is a shell command")
	case res.Err != nil:
		return 0, false, failure(res.Code, "cannot run %s: %v", argv[0], rootCause(res.Err)).try("ls -l " + argv[0])
	}
	return res.Code, false, nil
}
