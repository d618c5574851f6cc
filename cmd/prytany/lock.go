package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// lockFlags are the flags of `prytany lock`.
type lockFlags struct {
	holdFlags
	shared bool
	slots  int
}

func (a app) lockCommand() *cobra.Command {
	f := lockFlags{holdFlags: holdFlags{noun: "lock"}}
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] [-- CMD [ARG…]]",
		Short: "Run a command while holding a lock",
		Long: `Runs CMD while holding the lock NAME, and no longer: when the lease is in doubt the command gets SIGTERM, and
SIGKILL before the server may give the lock to anybody else, also if prytany itself is stopped or killed. CMD runs in a
process group of its own, without a shell unless -c is used; signals are passed on; its exit code is passed through.

CMD finds PRYTANY_LOCK_NAME, PRYTANY_LOCK_FENCE and PRYTANY_LOCK_SESSION in its environment. Pass the fence to what you
write to, and have it refuse smaller ones: no supervisor can stop a write that is on its way already.

With -s the lock is shared with others who say -s. With --slots N up to N hold it at a time; all who use the lock must
say the same N.

If somebody asks the holder to let go (prytany yield), that is said on stderr. If the server is going to take the lock
away, CMD gets SIGTERM at once, and SIGKILL before that happens.

Without CMD the lock is held until a signal comes; the grant is printed as JSON.

Exit codes: CMD's own; 75 the lease was lost and CMD was stopped; 124 not acquired (-n, -w); 125 failed before CMD was
run; 126, 127 CMD could not be run or found.`,
		Example: "  prytany lock nightly -- ./job.sh\n  prytany lock nightly -n -- ./job.sh\n  prytany lock deploy -w 30s -c 'make && make deploy'\n" +
			"  prytany lock docs -s -- ./read.sh\n  prytany lock gpu --slots 4 -- ./train.sh",
		Args:              beforeDash,
		ValidArgsFunction: a.CompleteLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			argv, err := f.argv(cmd, args[1:])
			if err != nil {
				return err
			}
			if f.slots < 1 || f.shared && f.slots > 1 {
				return cli.Usage("lock: --slots %d: want 1 or more, and 1 with -s", f.slots).Try("prytany lock " + cli.Shown(args[0]) + " --slots 3 -- CMD")
			}
			code, err := a.lock(cmd.Context(), args[0], argv, f)
			a.Code = code
			return err
		},
	}
	f.define(cmd)
	cmd.Flags().BoolVarP(&f.shared, "shared", "s", false, "hold the lock together with others who share it")
	cmd.Flags().IntVar(&f.slots, "slots", 1, "how many may hold the lock at a time")
	return cmd
}

// beforeDash wants one NAME before "--".
func beforeDash(cmd *cobra.Command, args []string) error {
	before := cmd.ArgsLenAtDash()
	if before < 0 {
		before = len(args)
	}
	return cli.RangeArgs(1, 1, "NAME")(cmd, args[:before])
}

// lock acquires name, runs argv under it and releases it. The code is that of
// the whole command if err is nil.
func (a app) lock(ctx context.Context, name string, argv []string, f lockFlags) (int, error) {
	c, err := a.ClientWith(f.ttl, nil)
	if err != nil {
		return 0, err
	}
	if a.Curl {
		return 0, a.lockCurl(ctx, c, name, f)
	}
	defer func() { _ = c.Close() }() // leaves the queue, too
	h, err := a.acquire(ctx, c, name, f)
	if err != nil {
		return 0, a.lockError(ctx, err, name, f.holdFlags)
	}
	t := tenure{h: h, c: c, name: name, argv: argv, f: f.holdFlags}
	left := h.Session().Remaining().Milliseconds()
	t.grant = api.Grant{
		Name: h.Name(), Session: h.Session().ID(), Fence: h.Fence(), Mode: h.Mode(),
		ExpiresInMS: &left, WaitedMS: h.Waited().Milliseconds(),
	}
	if f.slots > 1 {
		t.grant.Slots = f.slots
	}
	t.env = []string{
		"PRYTANY_LOCK_NAME=" + h.Name(), fmt.Sprintf("PRYTANY_LOCK_FENCE=%d", h.Fence()), "PRYTANY_LOCK_SESSION=" + h.Session().ID(),
	}
	return a.serveTenure(ctx, &t)
}

// lockCurl asks as curl would: in one request, with a session that lives for
// the lock.
func (a app) lockCurl(ctx context.Context, c *client.Client, name string, f lockFlags) error {
	in := api.Acquire{TTL: f.ttl.String(), Note: f.note}
	if f.shared {
		in.Mode = api.ModeShared
	}
	if f.slots > 1 {
		in.Slots = f.slots
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, err = c.Call(ctx, client.Call{Method: http.MethodPut, Path: "locks/" + client.EscapeName(name), Query: f.waitQuery(), Body: body})
	return err
}

// waitQuery is how long one request is to wait.
func (f holdFlags) waitQuery() url.Values {
	switch {
	case f.try:
		return nil
	case f.wait > 0:
		return url.Values{"wait": {f.wait.String()}}
	}
	return url.Values{"wait": {mostWait.String()}}
}

// acquire tries first, so that it can say whom it waits for, and then waits.
func (a app) acquire(ctx context.Context, c *client.Client, name string, f lockFlags) (*client.Held, error) {
	o := client.Options{Note: f.note, Shared: f.shared, Slots: f.slots, Try: true}
	begin := time.Now()
	within := ctx
	if f.wait > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, f.wait) // a cluster that does not answer takes longer
		defer cancel()
	}
	h, err := c.Acquire(within, name, o)
	if f.try || !errors.Is(err, client.ErrHeld) {
		return h, err
	}
	if p := cli.ProblemOf(err); p != nil {
		a.Say("waiting for %s: %s", name, cli.HeldText(p, p.Detail))
	}
	talk, silence := context.WithCancel(ctx)
	go a.tellQueue(talk, c, name, fenceOf(err))
	defer silence()
	o.Try = false
	if f.wait > 0 {
		o.Wait = max(f.wait-time.Since(begin), 1)
	}
	return c.Acquire(ctx, name, o)
}

// fenceOf is the fence of who held the lock when it was asked for.
func fenceOf(err error) uint64 {
	if p := cli.ProblemOf(err); p != nil && p.Holder != nil {
		return p.Holder.Fence
	}
	return 0
}

// tellEvery bounds how often a waiter looks at the queue: thousands may wait
// for one lock.
const tellEvery = time.Second

// tellQueue says whom this process waits for and its place in line, when that
// has changed.
func (a app) tellQueue(ctx context.Context, c *client.Client, name string, told uint64) {
	last := ""
	ring := a.Ring(ctx, c, name, client.EventLock, client.EventUnlock, client.EventLeader)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ring:
		}
		l, err := cli.Fetch[api.Lock](ctx, c, client.Call{Path: "locks/" + client.EscapeName(name)})
		own := func(h api.Holder) bool { return h.Owner == cli.Owner() } // it has just been granted
		if err != nil || len(l.Holders) == 0 || slices.ContainsFunc(l.Holders, own) {
			continue
		}
		text, left := queueText(l, cli.Owner())
		if text != last && (last != "" || l.Holders[0].Fence != told) && ctx.Err() == nil {
			a.Say("waiting for %s: %s", name, strings.Replace(text, "%", left, 1))
		}
		last = text
		cli.Pause(ctx, tellEvery)
	}
}

// queueText tells of holders and of the place in line of who; the percent sign
// in it stands for left, which changes all the time.
func queueText(l api.Lock, who string) (text, left string) {
	var s strings.Builder
	h := l.Holders[0]
	fmt.Fprintf(&s, "held by %s (fence %d)", strings.ReplaceAll(h.Owner, "%", "_"), h.Fence)
	if n := len(l.Holders) - 1; n > 0 {
		fmt.Fprintf(&s, " and %d %s", n, cli.Plural(n, "other"))
	}
	fmt.Fprintf(&s, ", lease %% left")
	for i, w := range l.Waiters {
		if w.Owner == who {
			fmt.Fprintf(&s, ", you are %s in line", cli.Ordinal(i+1))
			break
		}
	}
	return s.String(), cli.MS(h.ExpiresInMS)
}

// lockError gives a failed acquisition its exit code.
func (a app) lockError(ctx context.Context, err error, name string, f holdFlags) error {
	var own *cli.Error
	e := a.Classify(err)
	sig, interrupted := cli.SignalOf(ctx)
	look := "prytany locks " + cli.Shown(name)
	if f.noun == "election" {
		look = "prytany leader " + cli.Shown(name)
	}
	switch {
	case interrupted:
		return cli.Failure(sig.Code(), "%v while waiting for %s %s", sig, f.noun, name)
	case errors.As(err, &own):
		return own
	case errors.Is(err, client.ErrSessionExpired):
		return cli.Failure(cli.CodeBeforeExec, "the session was lost while waiting for %s %s: the cluster could not be reached for %s", f.noun, name, f.ttl).Try("prytany status")
	case errors.Is(err, client.ErrHeld) && f.try:
		return cli.Failure(f.failCode, "%s %s: %s", f.noun, name, e.Text).Try(look)
	case errors.Is(err, client.ErrHeld):
		return cli.Failure(f.failCode, "%s %s was not acquired within %s: %s", f.noun, name, f.wait, e.Text).Try(look)
	case errors.Is(err, client.ErrLimitMismatch):
		if p := cli.ProblemOf(err); p != nil && p.Slots > 0 {
			return cli.Failure(cli.CodeRefused, "lock %s is in use with %d %s, not %d", name, p.Slots, cli.Plural(p.Slots, "slot"), p.RequestedSlots).
				Try(fmt.Sprintf("prytany lock %s --slots %d …", cli.Shown(name), p.Slots))
		}
		return cli.Failure(cli.CodeRefused, "%s %s: %s", f.noun, name, e.Text).Try(look)
	case e.Code == cli.CodeUsage:
		return e
	}
	return cli.Failure(cli.CodeBeforeExec, "%s %s was not acquired: %s", f.noun, name, e.Text).Try(e.Hint)
}
