package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

func (a *app) locksCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "locks [NAME|PREFIX]",
		Short:             "Show who holds locks and who waits for them",
		Example:           "  prytany locks\n  prytany locks nightly",
		Args:              rangeArgs(0, 1),
		ValidArgsFunction: a.completeLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				l, err := fetch[api.Lock](cmd.Context(), c, client.Call{Path: "locks/" + client.EscapeName(args[0])})
				if err == nil && (len(l.Holders) > 0 || len(l.Waiters) > 0 || len(l.Past) > 0) {
					return a.showLock(l)
				}
				if err != nil && !errors.Is(err, client.ErrNotFound) {
					return err
				}
			}
			prefix := strings.Join(args, "")
			locks, err := fetchAll(cmd.Context(), c, "locks", prefix, func(b []byte) ([]api.Lock, string, error) {
				var p api.Locks
				err := json.Unmarshal(b, &p)
				return p.Locks, p.Next, err
			})
			if err != nil {
				return err
			}
			if len(locks) == 0 && prefix != "" {
				return failure(codeNotFound, "no lock is called %q or begins with it", prefix).try("prytany locks")
			}
			return a.showLocks(locks)
		},
	}
}

func (a *app) showLocks(locks []api.Lock) error {
	if a.json() {
		return printList(a, locks)
	}
	t := newTable("NAME", "HOLDER", "FENCE", "HELD", "LEASE LEFT", "WAITING", "NOTE")
	for _, l := range locks {
		if len(l.Holders) == 0 {
			t.add(l.Name, "(free)", "-", "-", "-", fmt.Sprint(len(l.Waiters)), "-")
		}
		for _, h := range l.Holders {
			t.add(l.Name, h.Owner, fmt.Sprint(h.Fence), ms(h.HeldMS), ms(h.ExpiresInMS), fmt.Sprint(len(l.Waiters)), dash(h.Note))
		}
	}
	return a.print(t)
}

// showLock prints all there is to know of one lock.
func (a *app) showLock(l api.Lock) error {
	if a.json() {
		return a.printJSON(l)
	}
	t := newTable("", "OWNER", "FENCE", "WHEN", "NOTE")
	for _, h := range l.Holders {
		t.add("held", h.Owner, fmt.Sprint(h.Fence), fmt.Sprintf("for %s, lease %s left", ms(h.HeldMS), ms(h.ExpiresInMS)), dash(h.Note))
	}
	if len(l.Holders) == 0 {
		t.add("free", "-", "-", fmt.Sprintf("since revision %d", l.ChangedRevision), "-")
	}
	for i, w := range l.Waiters {
		t.add(ordinal(i+1), w.Owner, "-", fmt.Sprintf("waits since revision %d", w.Since), "-")
	}
	for _, p := range l.Past {
		t.add("before", p.Owner, fmt.Sprint(p.Fence), fmt.Sprintf("%s at revision %d", p.Reason, p.Ended), "-")
	}
	return a.print(t)
}

func (a *app) unlockCommand() *cobra.Command {
	var fence uint64
	cmd := &cobra.Command{
		Use:               "unlock NAME --fence N",
		Short:             "Release a lock by the fence of its grant",
		Example:           "  prytany unlock nightly --fence 14",
		Args:              exactArgs(1, "NAME"),
		ValidArgsFunction: a.completeLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if fence == 0 {
				return usage("unlock: --fence is missing: say which grant you release").try("prytany locks " + args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			_, err = c.Call(cmd.Context(), client.Call{
				Method: http.MethodDelete, Path: "locks/" + client.EscapeName(args[0]),
				Header: http.Header{"If-Match": {api.FormatETag(fence)}},
			})
			if p := problemOf(err); p != nil && errors.Is(err, client.ErrStaleFence) {
				return failure(codeRefused, "%s", staleText(p, args[0], fmt.Sprint(fence))).try("prytany locks " + args[0])
			}
			return err
		},
	}
	cmd.Flags().Uint64Var(&fence, "fence", 0, "fence of the grant to release (required)")
	return cmd
}

func (a *app) breakCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "break NAME --yes",
		Short: "Take a lock away from its holder",
		Long: "Takes a lock away from its holder. The holder is not stopped: it may go on working until it notices.\n" +
			"Only what checks fences is safe from it.",
		Example:           "  prytany break nightly --yes",
		Args:              exactArgs(1, "NAME"),
		ValidArgsFunction: a.completeLocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return usage("break: the holder is not asked; say --yes if that is what you want").try("prytany locks " + args[0])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			_, err = c.Call(cmd.Context(), client.Call{
				Method: http.MethodDelete, Path: "locks/" + client.EscapeName(args[0]), Query: url.Values{"force": {"true"}},
			})
			if errors.Is(err, client.ErrStaleFence) || errors.Is(err, client.ErrNotFound) {
				return failure(codeNotFound, "nobody holds lock %s", args[0]).try("prytany locks")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	return cmd
}
