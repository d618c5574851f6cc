package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) locksCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:               "locks [NAME|PREFIX]",
		Short:             "Show who holds locks and who waits for them",
		Example:           "  prytany locks\n  prytany locks nightly\n  prytany locks nightly --watch",
		Args:              cli.RangeArgs(0, 1),
		ValidArgsFunction: a.CompleteLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := strings.Join(args, "")
			return a.Show(cmd, watch, prefix, func(ctx context.Context, c *client.Client) error { return a.locks(ctx, c, prefix) })
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

// locks shows one lock, or all that begin with its name if there is none.
func (a app) locks(ctx context.Context, c *client.Client, name string) error {
	if name != "" {
		l, err := cli.Fetch[api.Lock](ctx, c, client.Call{Path: "locks/" + client.EscapeName(name)})
		if err == nil && (len(l.Holders) > 0 || len(l.Waiters) > 0 || len(l.Past) > 0) {
			return a.showLock(l)
		}
		if err != nil && !errors.Is(err, client.ErrNotFound) {
			return err
		}
	}
	list, err := cli.FetchAll(ctx, c, "locks", name, func(b []byte) ([]api.Lock, string, error) {
		var p api.Locks
		err := json.Unmarshal(b, &p)
		return p.Locks, p.Next, err
	})
	if err != nil {
		return err
	}
	if len(list) == 0 && name != "" {
		return cli.Failure(cli.CodeNotFound, "no lock is called %q or begins with it", name).Try("prytany locks")
	}
	return a.showLocks(list)
}

func (a app) showLocks(locks []api.Lock) error {
	if a.JSON() {
		return cli.PrintList(a.App, locks)
	}
	head := []string{"NAME", "HOLDER", "FENCE", "HELD", "LEASE LEFT", "WAITING", "NOTE"}
	if a.Output == "wide" {
		head = append(head, "MODE", "SESSION")
	}
	t := cli.NewTable(head...)
	for _, l := range locks {
		if a.Output == "name" {
			l.Holders = nil // one line for each lock, not for each holder
		}
		if len(l.Holders) == 0 {
			t.Add(l.Name, "(free)", "-", "-", "-", fmt.Sprint(len(l.Waiters)), "-")
		}
		for _, h := range l.Holders {
			row := []string{l.Name, h.Owner, fmt.Sprint(h.Fence), cli.MS(h.HeldMS), cli.MS(h.ExpiresInMS), fmt.Sprint(len(l.Waiters)), cli.Dash(h.Note)}
			if a.Output == "wide" {
				row = append(row, modeText(h.Mode, l.Slots), h.Session)
			}
			t.Add(row...)
		}
	}
	return a.Print(t)
}

// showLock prints all there is to know of one lock.
func (a app) showLock(l api.Lock) error {
	if a.JSON() {
		return a.PrintJSON(l)
	}
	if a.Output == "name" {
		return a.PrintName(l.Name)
	}
	t := cli.NewTable("", "OWNER", "FENCE", "WHEN", "NOTE")
	for _, h := range l.Holders {
		held := "held"
		if m := modeText(h.Mode, l.Slots); m != api.ModeExclusive {
			held += " (" + m + ")"
		}
		t.Add(held, h.Owner, fmt.Sprint(h.Fence), fmt.Sprintf("for %s, lease %s left", cli.MS(h.HeldMS), cli.MS(h.ExpiresInMS)), cli.Dash(h.Note))
	}
	if y := l.Yield; y != nil {
		when := fmt.Sprintf("asked at revision %d", y.Since)
		if y.RemainingMS != nil {
			when += fmt.Sprintf(", ends in %s", cli.MS(y.RemainingMS))
		}
		t.Add("yield", "-", "-", when, cli.Dash(y.Reason))
	}
	if len(l.Holders) == 0 {
		t.Add("free", "-", "-", fmt.Sprintf("since revision %d", l.ChangedRevision), "-")
	}
	for i, w := range l.Waiters {
		t.Add(cli.Ordinal(i+1), w.Owner, "-", fmt.Sprintf("waits since revision %d", w.Since), cli.Dash(w.Note))
	}
	for _, p := range l.Past {
		t.Add("before", p.Owner, fmt.Sprint(p.Fence), fmt.Sprintf("%s at revision %d", p.Reason, p.Ended), "-")
	}
	return a.Print(t)
}

// modeText is "exclusive", "shared" or "slot of 3".
func modeText(mode string, slots int) string {
	if slots > 1 {
		return fmt.Sprintf("slot of %d", slots)
	}
	return cli.OrElse(mode, api.ModeExclusive)
}

func (a app) unlockCommand() *cobra.Command {
	var fence uint64
	var session string
	cmd := &cobra.Command{
		Use:               "unlock NAME --fence N",
		Short:             "Release a lock by the fence of its grant",
		Long:              "Releases a lock by the fence of its grant. Readers or slot holders that were let in together have one fence: then\n--session says which of them.",
		Example:           "  prytany unlock nightly --fence 14",
		Args:              cli.ExactArgs(1, "NAME"),
		ValidArgsFunction: a.CompleteLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if fence == 0 {
				return cli.Usage("unlock: --fence is missing: say which grant you release").Try("prytany locks " + cli.Shown(args[0]))
			}
			h := http.Header{"If-Match": {api.FormatETag(fence)}}
			if session != "" {
				h.Set(api.HeaderSession, session)
			}
			err := a.call(cmd, client.Call{Method: http.MethodDelete, Path: "locks/" + client.EscapeName(args[0]), Header: h})
			switch p := cli.ProblemOf(err); {
			case p != nil && errors.Is(err, client.ErrStaleFence):
				return cli.Failure(cli.CodeRefused, "%s", staleText(p, args[0], fmt.Sprint(fence))).Try("prytany locks " + cli.Shown(args[0]))
			case p != nil && p.Code == string(api.CodeSessionNeeded):
				return cli.Failure(cli.CodeUsage, "several sessions hold %s with fence %d", args[0], fence).
					Try(fmt.Sprintf("prytany unlock %s --fence %d --session ID, with one of prytany locks -o wide", cli.Shown(args[0]), fence))
			}
			return err
		},
	}
	cmd.Flags().Uint64Var(&fence, "fence", 0, "fence of the grant to release (required)")
	cmd.Flags().StringVar(&session, "session", "", "whose grant, if several have that fence")
	return cmd
}

// call sends one request whose answer nobody needs.
func (a app) call(cmd *cobra.Command, r client.Call) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	_, err = c.Call(cmd.Context(), r)
	return err
}

func (a app) breakCommand() *cobra.Command {
	var yes bool
	var reason string
	cmd := &cobra.Command{
		Use:   "break NAME --yes",
		Short: "Take a lock away from its holders",
		Long: "Takes a lock away from all its holders. They are not stopped: each may go on working until it notices.\n" +
			"Only what checks fences is safe from them. prytany yield asks first.",
		Example:           "  prytany break nightly --yes --reason 'host is gone'",
		Args:              cli.ExactArgs(1, "NAME"),
		ValidArgsFunction: a.CompleteLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return cli.Usage("break: the holder is not asked; say --yes if that is what you want").Try("prytany locks " + cli.Shown(args[0]))
			}
			q := url.Values{"force": {"true"}}
			if reason != "" {
				q.Set("reason", reason)
			}
			err := a.call(cmd, client.Call{Method: http.MethodDelete, Path: "locks/" + client.EscapeName(args[0]), Query: q})
			if errors.Is(err, client.ErrStaleFence) || errors.Is(err, client.ErrNotFound) {
				return cli.Failure(cli.CodeNotFound, "nobody holds lock %s", args[0]).Try("prytany locks")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	cmd.Flags().StringVar(&reason, "reason", "", "kept with the lock's history")
	return cmd
}

func (a app) yieldCommand() *cobra.Command {
	var within time.Duration
	var reason string
	cmd := &cobra.Command{
		Use:   "yield NAME",
		Short: "Ask who holds a lock to let go",
		Long: "Asks the holders of a lock, or the leader of an election, to let go. With --within the server takes it away when that time\n" +
			"has passed; without, it is only asked for.",
		Example:           "  prytany yield nightly --reason deploy\n  prytany yield nightly --within 30s --reason deploy",
		Args:              cli.ExactArgs(1, "NAME"),
		ValidArgsFunction: a.CompleteLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if within < 0 {
				return cli.Usage("yield: --within %s: want more than nothing", within).Try("prytany yield " + cli.Shown(args[0]) + " --within 30s")
			}
			in := api.AskYield{Reason: reason}
			if within > 0 {
				in.Within = within.String()
			}
			body, err := json.Marshal(in)
			if err != nil {
				return err
			}
			err = a.call(cmd, client.Call{
				Method: http.MethodPost, Path: "locks/" + client.EscapeName(args[0]) + ":yield", Body: body,
				Header: http.Header{"Content-Type": {api.TypeJSON}},
			})
			if errors.Is(err, client.ErrNotFound) {
				return cli.Failure(cli.CodeNotFound, "nobody holds lock %s", args[0]).Try("prytany locks")
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&within, "within", 0, "take it away after this time")
	cmd.Flags().StringVar(&reason, "reason", "", "told to the holders")
	return cmd
}

func (a app) explainCommand() *cobra.Command {
	var session string
	cmd := &cobra.Command{
		Use:               "explain NAME",
		Short:             "Say why a lock is not granted",
		Example:           "  prytany explain nightly\n  prytany explain nightly --session s-14",
		Args:              cli.ExactArgs(1, "NAME"),
		ValidArgsFunction: a.CompleteLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			q := url.Values{}
			if session != "" {
				q.Set("session", session)
			}
			e, err := cli.Fetch[api.Explanation](cmd.Context(), c, client.Call{Path: "explain/locks/" + client.EscapeName(args[0]), Query: q})
			switch {
			case err != nil && session != "":
				return sessionError(err, session)
			case err != nil:
				return err
			case a.JSON():
				return a.PrintJSON(e)
			case e.Free:
				a.Printf("%s is free: it would be granted at once\n", cli.Printable(args[0], ""))
			}
			for _, r := range e.Reasons {
				a.Printf("%s: %s\n", r.Code, r.Text)
			}
			if e.Position > 0 {
				a.Printf("session %s is %s in line\n", session, cli.Ordinal(e.Position))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&session, "session", "", "tell this session's place in line, too")
	return cmd
}
