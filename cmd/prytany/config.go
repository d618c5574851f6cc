package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

func (a *app) getCommand() *cobra.Command {
	var meta, stale bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:               "get KEY",
		Short:             "Print the value of a key: its bytes as they are",
		Example:           "  prytany get app/color\n  prytany get app/color --meta",
		Args:              exactArgs(1, "KEY"),
		ValidArgsFunction: a.completeKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := url.Values{}
			if stale {
				q.Set("consistency", "stale")
			}
			if wait > 0 {
				q.Set("wait", wait.String())
			}
			rep, err := c.Call(cmd.Context(), client.Call{
				Path: "config/" + client.EscapeName(args[0]), Query: q, Wait: wait,
				Header: http.Header{"Accept": {api.TypeJSON}},
			})
			if err != nil {
				return a.keyError(err, args[0], 0, "")
			}
			return a.showEntry(rep.Body, meta)
		},
	}
	cmd.Flags().BoolVar(&meta, "meta", false, "print revision, version and content type instead of the value")
	cmd.Flags().BoolVar(&stale, "stale", false, "answer from the asked node's memory, which may be behind")
	cmd.Flags().DurationVarP(&wait, "wait", "w", 0, "wait so long for the key to exist")
	return cmd
}

// showEntry prints one entry as -o asks.
func (a *app) showEntry(body []byte, meta bool) error {
	var e api.Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("the server's answer makes no sense: %w", err)
	}
	switch {
	case a.json():
		return a.printJSON(e)
	case meta:
		t := newTable("KEY", "REVISION", "VERSION", "CREATED", "TYPE", "SESSION")
		t.add(e.Key, fmt.Sprint(e.Revision), fmt.Sprint(e.Version), fmt.Sprint(e.CreatedRevision), dash(e.ContentType), dash(e.Session))
		return a.print(t)
	}
	value, err := entryValue(e)
	if err != nil {
		return err
	}
	if _, err := a.stdout.Write(value); err != nil {
		return err
	}
	// On a terminal the prompt should not stick to the value.
	if f, ok := a.stdout.(*os.File); ok && isTerminal(f) && !strings.HasSuffix(string(value), "\n") {
		_, err = fmt.Fprintln(f)
	}
	return err
}

func (a *app) putCommand() *cobra.Command {
	var ifRev uint64
	var ifAbsent bool
	var guard, session, contentType string
	cmd := &cobra.Command{
		Use:   "put KEY VALUE|-|@FILE",
		Short: "Set the value of a key and print its new revision",
		Example: "  prytany put app/color blue\n  prytany put app/config @config.json\n  date | prytany put app/deployed -\n" +
			"  prytany put app/color red --if-rev 12",
		Args:              exactArgs(2, "KEY", "VALUE, - or @FILE"),
		ValidArgsFunction: a.completeKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			value, err := a.readValue(args[1])
			if err != nil {
				return err
			}
			conds, err := conditions(cmd, ifRev, ifAbsent, guard)
			if err != nil {
				return err
			}
			if session != "" {
				conds.Set(api.HeaderSession, session)
			}
			if contentType == "" && utf8.Valid(value) {
				contentType = "text/plain; charset=utf-8"
			}
			conds.Set("Content-Type", orElse(contentType, api.TypeBytes))
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
			if a.json() {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintln(a.stdout, out.Revision)
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

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// readValue reads VALUE, - or @FILE.
func (a *app) readValue(arg string) ([]byte, error) {
	const most = 64 << 20 // the server's limit is far lower and it says which
	switch {
	case arg == "-":
		b, err := io.ReadAll(io.LimitReader(a.stdin, most))
		if err != nil {
			return nil, failure(codeError, "standard input: %v", err)
		}
		return b, nil
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, failure(codeError, "%v", err).try("printf %s '" + arg + "' | prytany put KEY -   if the value itself begins with @")
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(io.LimitReader(f, most))
		if err != nil {
			return nil, failure(codeError, "%v", err)
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
			return nil, usage("--if-rev 0: revisions begin at 1").try(cmd.CommandPath() + " KEY VALUE --if-absent")
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
			return nil, usage("--guard %q: want LOCK:FENCE, such as nightly:14", guard).try("prytany locks")
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

func (a *app) deleteCommand() *cobra.Command {
	var ifRev uint64
	var guard string
	cmd := &cobra.Command{
		Use:               "delete KEY",
		Short:             "Remove a key; that there is none is no error",
		Example:           "  prytany delete app/color",
		Args:              exactArgs(1, "KEY"),
		ValidArgsFunction: a.completeKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
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
	return cmd
}

func (a *app) listCommand() *cobra.Command {
	var keysOnly bool
	cmd := &cobra.Command{
		Use:               "list [PREFIX]",
		Short:             "List keys that begin with PREFIX",
		Example:           "  prytany list app/\n  prytany list -o json",
		Args:              rangeArgs(0, 1),
		ValidArgsFunction: a.completeKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			entries, err := fetchAll(cmd.Context(), c, "config", prefix, func(b []byte) ([]api.Entry, string, error) {
				var p api.Entries
				err := json.Unmarshal(b, &p)
				return p.Entries, p.Next, err
			})
			if err != nil {
				return err
			}
			return a.showEntries(entries, keysOnly || a.output == "name")
		},
	}
	cmd.Flags().BoolVar(&keysOnly, "keys-only", false, "print keys alone")
	return cmd
}

func (a *app) showEntries(entries []api.Entry, keysOnly bool) error {
	if a.json() {
		return printList(a, entries)
	}
	if keysOnly {
		for _, e := range entries {
			if err := a.printName(e.Key); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable("KEY", "REVISION", "VALUE")
	for _, e := range entries {
		value, err := entryValue(e)
		if err != nil {
			return err
		}
		t.add(e.Key, fmt.Sprint(e.Revision), preview(value))
	}
	return a.print(t)
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
