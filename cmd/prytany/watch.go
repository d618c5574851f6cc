package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// watchFlags are the flags of `prytany watch`.
type watchFlags struct {
	from     uint64
	events   []string
	exec     string
	once     bool
	failFast bool
	resync   bool
}

var eventTypes = []string{
	api.EventPut, api.EventDelete, api.EventExpire, api.EventLock, api.EventUnlock, api.EventLeader, api.EventSession, api.EventYield,
}

func (a app) watchCommand() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "Print what happens to keys, locks, elections and sessions, one JSON document a line",
		Long: `Prints every event whose name begins with PREFIX, in order, each once and none left out, until a signal comes. It goes on
by itself over lost connections and dead nodes.

With --exec a command is run with /bin/sh -c for each event, one after the other: the event is its standard input as JSON,
and PRYTANY_WATCH_TYPE, _NAME, _REVISION, _VALUE, _SESSION, _FENCE and _REASON are in its environment. Its standard output
is this command's; nothing else is printed there. A command that fails is said, and the next event comes; with --fail-fast
its exit code ends the watch.

Events are kept for an hour, or the last 10,000 revisions. Whoever asks for older ones, or was away for longer, has missed
some: that ends the watch with exit code 1, unless --resync asks to go on with the oldest that there is.`,
		Example: "  prytany watch app/\n  prytany watch app/color -1\n  prytany watch app/ --events put,delete --exec './reload.sh'\n  prytany watch --from 120",
		Args:    cli.RangeArgs(0, 1), ValidArgsFunction: a.CompleteKeys(),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, e := range f.events {
				if !slices.Contains(eventTypes, e) {
					return cli.Usage("watch: --events %q: want %s", e, strings.Join(eventTypes, ", ")).Try("prytany watch --events put,delete")
				}
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			return a.watch(cmd.Context(), c, strings.Join(args, ""), f)
		},
	}
	fl := cmd.Flags()
	fl.Uint64Var(&f.from, "from", 0, "the first revision to tell about (default: from now on)")
	fl.StringSliceVar(&f.events, "events", nil, "`types` to tell about: put, delete, expire, lock, unlock, leader, session, yield")
	fl.StringVar(&f.exec, "exec", "", "run this `command` with /bin/sh -c for each event")
	fl.BoolVarP(&f.once, "one", "1", false, "end after the first event")
	fl.BoolVar(&f.failFast, "fail-fast", false, "end when the command of --exec fails")
	fl.BoolVar(&f.resync, "resync", false, "go on with the oldest events there are when older ones are gone")
	return cmd
}

func (a app) watch(ctx context.Context, c *client.Client, prefix string, f watchFlags) error {
	from := f.from
	for {
		err := a.follow(ctx, c, prefix, &from, f)
		p := cli.ProblemOf(err)
		switch {
		case err == nil || errors.Is(err, errDone):
			return nil
		case ctx.Err() != nil:
			return cli.Unless(ctx, err)
		case !errors.Is(err, client.ErrCompacted) || p == nil:
			return err
		case !f.resync:
			return cli.Failure(cli.CodeError, "events before revision %d are not kept any more: some may have been missed", p.OldestRevision).
				Try(fmt.Sprintf("prytany watch %s --from %d, and read the state anew", cli.Shown(prefix), p.OldestRevision))
		}
		a.Say("prytany: events before revision %d are not kept any more; some may have been missed", p.OldestRevision)
		from = p.OldestRevision
	}
}

// errDone ends a watch that has seen what it was to see.
var errDone = errors.New("done")

// follow tells of events from *from on, which it moves.
func (a app) follow(ctx context.Context, c *client.Client, prefix string, from *uint64, f watchFlags) error {
	for e, err := range c.Watch(ctx, prefix, client.WatchOptions{From: *from, Events: f.events}) {
		if err != nil {
			return err
		}
		if !e.More {
			*from = e.Revision + 1
		}
		if err := a.event(ctx, e, f); err != nil {
			return err
		}
		if f.once {
			return errDone
		}
	}
	return nil
}

// event prints one event, or runs the command for it.
func (a app) event(ctx context.Context, e client.Event, f watchFlags) error {
	line, err := json.Marshal(eventJSON(e))
	if err != nil {
		return err
	}
	if f.exec == "" {
		if a.Output == "name" {
			return a.PrintName(e.Name)
		}
		_, err := fmt.Fprintf(a.Stdout, "%s\n", line)
		return err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", f.exec)
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 5*time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(line)+"\n"), a.Stdout, a.Stderr
	cmd.Env = append(os.Environ(), eventEnv(e)...)
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case f.failFast && errors.As(err, &exit) && exit.ExitCode() > 0:
		return cli.Failure(exit.ExitCode(), "the command failed for revision %d: %v", e.Revision, err)
	case f.failFast:
		return cli.Failure(cli.CodeError, "the command failed for revision %d: %v", e.Revision, err)
	}
	a.Say("prytany: the command failed for revision %d: %v", e.Revision, err)
	return nil
}

// eventEnv tells a command of e. What no environment can hold is left out; the
// command's standard input has it all.
func eventEnv(e client.Event) (env []string) {
	value := e.Value
	if e.Type == client.EventPut {
		value = string(e.Entry.Value)
	}
	const most = 100 << 10 // the system's bound for one variable is 128 KiB
	if len(value) > most {
		value = ""
	}
	for _, v := range [][2]string{
		{"TYPE", e.Type}, {"NAME", e.Name}, {"REVISION", fmt.Sprint(e.Revision)}, {"VALUE", value},
		{"SESSION", e.Session}, {"FENCE", fmt.Sprint(e.Fence)}, {"REASON", e.Reason},
	} {
		if !strings.ContainsRune(v[1], 0) {
			env = append(env, "PRYTANY_WATCH_"+v[0]+"="+v[1])
		}
	}
	return env
}

// eventJSON is e as the API tells it.
func eventJSON(e client.Event) api.Event {
	out := api.Event{
		Type: e.Type, Revision: e.Revision, More: e.More, Name: e.Name, Session: e.Session, Owner: e.Owner, Fence: e.Fence,
		Mode: e.Mode, Value: e.Value, WithinMS: e.Within.Milliseconds(), Reason: e.Reason,
	}
	if e.Type == client.EventPut {
		entry := cli.EntryJSON(e.Entry)
		out.Entry = &entry
	}
	return out
}
