package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Create, keep alive, list, inspect and end sessions",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.UnknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.sessionCreate(), a.sessionKeepalive(), a.sessionList(), a.sessionInfo(), a.sessionEnd())
	return cmd
}

func (a app) sessionCreate() *cobra.Command {
	var ttl, delay time.Duration
	var name string
	cmd := &cobra.Command{
		Use:     "create",
		Short:   "Open a session and print its id",
		Example: "  prytany session create --ttl 30s --name deploy",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			in := api.CreateSession{Name: name}
			if cmd.Flags().Changed("ttl") {
				in.TTL = ttl.String()
			}
			if delay != 0 {
				in.LockDelay = delay.String()
			}
			body, err := json.Marshal(in)
			if err != nil {
				return err
			}
			out, err := cli.Fetch[api.SessionCreated](cmd.Context(), c, client.Call{Method: http.MethodPost, Path: "sessions", Body: body})
			if err != nil {
				return err
			}
			if a.JSON() {
				return a.PrintJSON(out)
			}
			_, err = fmt.Fprintln(a.Stdout, out.ID)
			return err
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 15*time.Second, "how long it lives without a keepalive, 2s to 24h")
	cmd.Flags().StringVar(&name, "name", "", "who it is, for people")
	cmd.Flags().DurationVar(&delay, "lock-delay", 0, "how long its locks stay closed after it expires, up to 60s")
	return cmd
}

func (a app) sessionKeepalive() *cobra.Command {
	return &cobra.Command{
		Use:               "keepalive ID",
		Short:             "Give a session another TTL and print how long it lives",
		Example:           "  prytany session keepalive s-…",
		Args:              cli.ExactArgs(1, "ID"),
		ValidArgsFunction: a.CompleteSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			out, err := cli.Fetch[api.KeptAlive](cmd.Context(), c, client.Call{Method: http.MethodPut, Path: "sessions/" + client.EscapeName(args[0])})
			if err != nil {
				return sessionError(err, args[0])
			}
			if a.JSON() {
				return a.PrintJSON(out)
			}
			_, err = fmt.Fprintln(a.Stdout, time.Duration(out.ExpiresInMS)*time.Millisecond)
			return err
		},
	}
}

func (a app) sessionList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List sessions",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			list, err := cli.FetchAll(cmd.Context(), c, "sessions", "", func(b []byte) ([]api.SessionInfo, string, error) {
				var p api.Sessions
				err := json.Unmarshal(b, &p)
				return p.Sessions, p.Next, err
			})
			if err != nil {
				return err
			}
			if a.JSON() {
				return cli.PrintList(a.App, list)
			}
			t := cli.NewTable("ID", "NAME", "TTL", "LEFT") // what a session has is not in listings
			for _, s := range list {
				t.Add(sessionRow(s)...)
			}
			return a.Print(t)
		},
	}
}

func sessionRow(s api.SessionInfo) []string {
	return []string{s.ID, cli.Dash(s.Name), (time.Duration(s.TTLMS) * time.Millisecond).String(), cli.MS(s.ExpiresInMS)}
}

func (a app) sessionInfo() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:               "info ID",
		Short:             "Show what a session holds and waits for",
		Args:              cli.ExactArgs(1, "ID"),
		ValidArgsFunction: a.CompleteSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Show(cmd, watch, "", func(ctx context.Context, c *client.Client) error {
				s, err := cli.Fetch[api.Session](ctx, c, client.Call{Path: "sessions/" + client.EscapeName(args[0])})
				if err != nil {
					return sessionError(err, args[0])
				}
				return a.showSession(s)
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

func (a app) showSession(s api.Session) error {
	if a.JSON() {
		return a.PrintJSON(s)
	}
	t := cli.NewTable("ID", "NAME", "TTL", "LEFT", "HOLDS", "WAITS", "KEYS")
	t.Add(append(sessionRow(s.SessionInfo), fmt.Sprint(len(s.Holds)), fmt.Sprint(len(s.Waits)), fmt.Sprint(len(s.Keys)))...)
	if err := a.Print(t); err != nil || a.Output == "name" {
		return err
	}
	for _, h := range s.Holds {
		a.Printf("holds  %s (fence %d)\n", cli.Printable(h.Name, ""), h.Fence)
	}
	for _, w := range s.Waits {
		a.Printf("waits  %s\n", cli.Printable(w, ""))
	}
	for _, k := range s.Keys {
		a.Printf("key    %s\n", cli.Printable(k, ""))
	}
	return nil
}

func (a app) sessionEnd() *cobra.Command {
	return &cobra.Command{
		Use:               "end ID",
		Short:             "End a session with all its locks, waits and keys",
		Args:              cli.ExactArgs(1, "ID"),
		ValidArgsFunction: a.CompleteSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			_, err = c.Call(cmd.Context(), client.Call{Method: http.MethodDelete, Path: "sessions/" + client.EscapeName(args[0])})
			return sessionError(err, args[0])
		},
	}
}

// sessionError is err, or that there is no such session.
func sessionError(err error, id string) error {
	if errors.Is(err, client.ErrSessionExpired) || errors.Is(err, client.ErrNotFound) {
		return cli.Failure(cli.CodeNotFound, "there is no session %s; it may have ended", id).Try("prytany session list")
	}
	return err
}
