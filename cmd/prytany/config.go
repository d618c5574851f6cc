package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/curl"
	"github.com/prytany/prytany/internal/api"
)

func (a app) getCommand() *cobra.Command {
	var meta, stale, watch bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:               "get KEY",
		Short:             "Print the value of a key: its bytes as they are",
		Example:           "  prytany get app/color\n  prytany get app/color --meta\n  prytany get app/color --watch",
		Args:              cli.ExactArgs(1, "KEY"),
		ValidArgsFunction: a.CompleteKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if stale {
				q.Set("consistency", "stale")
			}
			if wait < 0 || wait > mostWait {
				return cli.Usage("get: -w %s: want up to %s", wait, mostWait).Try("prytany get " + cli.Shown(args[0]) + " -w 30s")
			}
			if wait > 0 {
				q.Set("wait", wait.String())
			}
			return a.Show(cmd, watch, args[0], func(ctx context.Context, c *client.Client) error {
				r := client.Call{Path: "config/" + client.EscapeName(args[0]), Query: q, Wait: wait, Header: http.Header{"Accept": {api.TypeJSON}}}
				rep, err := a.getOrWait(ctx, c, r, args[0])
				if err != nil {
					return a.keyError(err, args[0], 0, "")
				}
				return a.showEntry(rep.Body, meta, watch)
			})
		},
	}
	cmd.Flags().BoolVar(&meta, "meta", false, "print revision, version and content type instead of the value")
	cmd.Flags().BoolVar(&stale, "stale", false, "answer from the asked node's memory, which may be behind")
	cmd.Flags().DurationVarP(&wait, "wait", "w", 0, "wait so long for the key to exist")
	cli.WatchFlag(cmd, &watch)
	return cmd
}

// getOrWait reads an entry. Before it waits for one it says so.
func (a app) getOrWait(ctx context.Context, c *client.Client, r client.Call, key string) (client.Reply, error) {
	if r.Wait > 0 && !a.Curl {
		now := r
		now.Query, now.Wait = maps.Clone(r.Query), 0
		now.Query.Del("wait")
		if rep, err := c.Call(ctx, now); !errors.Is(err, client.ErrNotFound) {
			return rep, err
		}
		a.Say("waiting for key %s", key)
	}
	return c.Call(ctx, r)
}

// showEntry prints one entry as -o asks; line says that others will follow.
func (a app) showEntry(body []byte, meta, line bool) error {
	var e api.Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("the server's answer makes no sense: %w", err)
	}
	switch {
	case a.JSON():
		return a.PrintJSON(e)
	case a.Output == "name":
		return a.PrintName(e.Key)
	case meta || a.Output == "wide":
		t := cli.NewTable("KEY", "REVISION", "VERSION", "CREATED", "TYPE", "SESSION")
		t.Add(e.Key, fmt.Sprint(e.Revision), fmt.Sprint(e.Version), fmt.Sprint(e.CreatedRevision), cli.Dash(e.ContentType), cli.Dash(e.Session))
		return a.Print(t)
	}
	value, err := e.Bytes()
	if err != nil {
		return err
	}
	if _, err := a.Stdout.Write(value); err != nil {
		return err
	}
	// On a terminal the prompt should not stick to the value.
	if f, ok := a.Stdout.(*os.File); (line || ok && cli.IsTerminal(f)) && !strings.HasSuffix(string(value), "\n") {
		_, err = fmt.Fprintln(a.Stdout)
	}
	return err
}

func (a app) putCommand() *cobra.Command {
	var ifRev uint64
	var ifAbsent bool
	var guard, session, contentType string
	cmd := &cobra.Command{
		Use:   "put KEY VALUE|-|@FILE",
		Short: "Set the value of a key and print its new revision",
		Example: "  prytany put app/color blue\n  prytany put app/config @config.json\n  date | prytany put app/deployed -\n" +
			"  prytany put app/color red --if-rev 12",
		Args:              cli.ExactArgs(2, "KEY", "VALUE, - or @FILE"),
		ValidArgsFunction: a.CompleteKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			value, err := a.readValue(args[1])
			if errors.Is(err, fs.ErrNotExist) {
				return cli.Failure(cli.CodeError, "%v", err).
					Try("printf %s " + curl.Quote(args[1]) + " | prytany put " + cli.Shown(args[0]) + " -   if the value itself begins with @")
			}
			if err != nil {
				return err
			}
			conds, err := conditions(cmd, ifRev, ifAbsent, guard)
			if err != nil {
				return err
			}
			if strings.ContainsFunc(contentType, unicode.IsControl) {
				return cli.Usage("put: --content-type %q: want no control characters", contentType).Try("prytany put --help")
			}
			if session != "" {
				conds.Set(api.HeaderSession, session)
			}
			if contentType == "" && utf8.Valid(value) {
				contentType = "text/plain; charset=utf-8"
			}
			conds.Set("Content-Type", cli.OrElse(contentType, api.TypeBytes))
			rep, err := c.Call(cmd.Context(), client.Call{
				Method: http.MethodPut, Path: "config/" + client.EscapeName(args[0]), Header: conds, Body: value,
			})
			if err != nil {
				return a.keyError(err, args[0], ifRev, guard)
			}
			var out api.Put
			if err := json.Unmarshal(rep.Body, &out); err != nil {
				return fmt.Errorf("the server's answer makes no sense: %w", err)
			}
			if a.JSON() {
				return a.PrintJSON(out)
			}
			_, err = fmt.Fprintln(a.Stdout, out.Revision)
			return err
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&ifRev, "if-rev", 0, "only if the key's revision is this")
	f.BoolVar(&ifAbsent, "if-absent", false, "only if there is no such key")
	f.StringVar(&guard, "guard", "", "only while this grant is current: LOCK:FENCE")
	f.StringVar(&session, "session", "", "remove the key when this session ends")
	f.StringVar(&contentType, "content-type", "", "kept with the value and given back with it")
	cmd.MarkFlagsMutuallyExclusive("if-rev", "if-absent")
	return cmd
}

// readValue reads VALUE, - or @FILE.
func (a app) readValue(arg string) ([]byte, error) {
	const most = 64 << 20 // the server's limit is far lower and it says which
	switch {
	case arg == "-":
		b, err := io.ReadAll(io.LimitReader(a.Stdin, most))
		if err != nil {
			return nil, cli.Failure(cli.CodeError, "standard input: %v", err)
		}
		return b, nil
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(io.LimitReader(f, most))
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	return []byte(arg), nil
}

// conditions turns the flags into headers.
func conditions(cmd *cobra.Command, ifRev uint64, ifAbsent bool, guard string) (http.Header, error) {
	h := http.Header{}
	if cmd.Flags().Changed("if-rev") {
		if ifRev == 0 {
			return nil, cli.Usage("--if-rev 0: revisions begin at 1").Try(cmd.CommandPath() + " KEY VALUE --if-absent")
		}
		h.Set("If-Match", api.FormatETag(ifRev))
	}
	if ifAbsent {
		h.Set("If-None-Match", "*")
	}
	if guard != "" {
		name, fence, ok := cutLast(guard, ':')
		n, err := strconv.ParseUint(fence, 10, 64)
		if !ok || err != nil || name == "" {
			return nil, cli.Usage("--guard %q: want LOCK:FENCE, such as nightly:14", guard).Try("prytany locks")
		}
		h.Set(api.HeaderGuard, api.FormatGuard(name, n))
	}
	return h, nil
}

// cutLast cuts s at its last sep.
func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func (a app) deleteCommand() *cobra.Command {
	var ifRev uint64
	var guard string
	var prefix, yes bool
	cmd := &cobra.Command{
		Use:               "delete KEY",
		Short:             "Remove a key; that there is none is no error",
		Long:              "Removes a key; that there is none is no error. With --prefix every key that begins with KEY is removed, in one step, up to\n10,000 of them, and their number is printed.",
		Example:           "  prytany delete app/color\n  prytany delete app/ --prefix --yes",
		Args:              cli.ExactArgs(1, "KEY"),
		ValidArgsFunction: a.CompleteKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if prefix && !yes {
				return cli.Usage("delete: every key that begins with %q goes; say --yes if that is what you want", args[0]).Try("prytany list " + cli.Shown(args[0]))
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			if prefix {
				return a.deletePrefix(cmd.Context(), c, args[0])
			}
			conds, err := conditions(cmd, ifRev, false, guard)
			if err != nil {
				return err
			}
			_, err = c.Call(cmd.Context(), client.Call{Method: http.MethodDelete, Path: "config/" + client.EscapeName(args[0]), Header: conds})
			return a.keyError(err, args[0], ifRev, guard)
		},
	}
	cmd.Flags().Uint64Var(&ifRev, "if-rev", 0, "only if the key's revision is this")
	cmd.Flags().StringVar(&guard, "guard", "", "only while this grant is current: LOCK:FENCE")
	cmd.Flags().BoolVar(&prefix, "prefix", false, "remove every key that begins with KEY")
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it, with --prefix")
	cmd.MarkFlagsMutuallyExclusive("prefix", "if-rev")
	cmd.MarkFlagsMutuallyExclusive("prefix", "guard")
	return cmd
}

// deletePrefix removes every key that begins with prefix.
func (a app) deletePrefix(ctx context.Context, c *client.Client, prefix string) error {
	body, err := json.Marshal(api.Transaction{Then: []api.Op{{DeletePrefix: &prefix}}})
	if err != nil {
		return err
	}
	out, err := cli.Fetch[api.Transacted](ctx, c, client.Call{
		Method: http.MethodPost, Path: "transactions", Body: body, Header: http.Header{"Content-Type": {api.TypeJSON}},
	})
	switch {
	case err != nil:
		return err
	case a.JSON():
		return a.PrintJSON(out)
	case len(out.Results) == 1 && out.Results[0].Deleted != nil:
		_, err = fmt.Fprintln(a.Stdout, *out.Results[0].Deleted)
	}
	return err
}

func (a app) listCommand() *cobra.Command {
	var keysOnly, watch bool
	cmd := &cobra.Command{
		Use:               "list [PREFIX]",
		Short:             "List keys that begin with PREFIX",
		Example:           "  prytany list app/\n  prytany list -o json",
		Args:              cli.RangeArgs(0, 1),
		ValidArgsFunction: a.CompleteKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := strings.Join(args, "")
			return a.Show(cmd, watch, prefix, func(ctx context.Context, c *client.Client) error {
				entries, err := cli.FetchAll(ctx, c, "config", prefix, func(b []byte) ([]api.Entry, string, error) {
					var p api.Entries
					err := json.Unmarshal(b, &p)
					return p.Entries, p.Next, err
				})
				if err != nil {
					return err
				}
				return a.showEntries(entries, keysOnly || a.Output == "name")
			})
		},
	}
	cmd.Flags().BoolVar(&keysOnly, "keys-only", false, "print keys alone")
	cli.WatchFlag(cmd, &watch)
	return cmd
}

func (a app) showEntries(entries []api.Entry, keysOnly bool) error {
	if a.JSON() {
		return cli.PrintList(a.App, entries)
	}
	if keysOnly {
		for _, e := range entries {
			if err := a.PrintName(e.Key); err != nil {
				return err
			}
		}
		return nil
	}
	t := cli.NewTable("KEY", "REVISION", "VALUE")
	for _, e := range entries {
		value, err := e.Bytes()
		if err != nil {
			return err
		}
		t.Add(e.Key, fmt.Sprint(e.Revision), preview(value))
	}
	return a.Print(t)
}

// preview shows the beginning of a value on one line.
func preview(b []byte) string {
	const most = 60
	if !utf8.Valid(b) {
		return fmt.Sprintf("(%d bytes)", len(b))
	}
	s := strings.TrimRight(string(b), "\n")
	r := []rune(strings.ReplaceAll(strings.ReplaceAll(s, "\n", "⏎"), "\t", " "))
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}

// keyError says what was wrong with a condition on key. rev is the wanted
// revision, 0 if none was asked for.
func (a app) keyError(err error, key string, rev uint64, guard string) error {
	p := cli.ProblemOf(err)
	if p == nil {
		return err
	}
	now := p.CurrentRevision
	switch {
	case errors.Is(err, client.ErrConflict) && now == 0:
		return cli.Failure(cli.CodeRefused, "there is no key %s, so it is not at revision %d", key, rev).Try("prytany put " + cli.Shown(key) + " VALUE --if-absent")
	case errors.Is(err, client.ErrConflict) && rev == 0:
		return cli.Failure(cli.CodeRefused, "%s exists already, at revision %d", key, now).Try("prytany get " + cli.Shown(key) + " --meta")
	case errors.Is(err, client.ErrConflict):
		return cli.Failure(cli.CodeRefused, "%s is at revision %d, not %d", key, now, rev).Try("prytany get " + cli.Shown(key) + " --meta")
	case errors.Is(err, client.ErrStaleFence):
		if name, fence, ok := cutLast(guard, ':'); ok {
			return cli.Failure(cli.CodeRefused, "%s is unchanged: %s", key, staleText(p, name, fence)).Try("prytany locks " + cli.Shown(name))
		}
	case errors.Is(err, client.ErrSessionExpired):
		return cli.Failure(cli.CodeNotFound, "%s is unchanged: there is no such session, or not any more", key).Try("prytany session list")
	case p.Code == string(api.CodeKeyNotFound):
		return cli.Failure(cli.CodeNotFound, "there is no key %s", key).Try("prytany list")
	}
	return err
}

// staleText says which grant of a lock is the present one.
func staleText(p *client.ProblemError, name, fence string) string {
	if p.CurrentFence == 0 {
		return fmt.Sprintf("nobody holds lock %s", name)
	}
	return fmt.Sprintf("the present fence of lock %s is %d, not %s", name, p.CurrentFence, fence)
}
