package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

func (a *app) sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Create, keep alive, list, inspect and end sessions",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.sessionCreate(), a.sessionKeepalive(), a.sessionList(), a.sessionInfo(), a.sessionEnd())
	return cmd
}

func (a *app) sessionCreate() *cobra.Command {
	var ttl, delay time.Duration
	var name string
	cmd := &cobra.Command{
		Use:     "create",
		Short:   "Open a session and print its id",
		Example: "  prytany session create --ttl 30s --name deploy",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
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
			out, err := fetch[api.SessionCreated](cmd.Context(), c, client.Call{Method: http.MethodPost, Path: "sessions", Body: body})
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintln(a.stdout, out.ID)
			return err
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 15*time.Second, "how long it lives without a keepalive, 2s to 24h")
	cmd.Flags().StringVar(&name, "name", "", "who it is, for people")
	cmd.Flags().DurationVar(&delay, "lock-delay", 0, "how long its locks stay closed after it expires, up to 60s")
	return cmd
}

func (a *app) sessionKeepalive() *cobra.Command {
	return &cobra.Command{
		Use:               "keepalive ID",
		Short:             "Give a session another TTL and print how long it lives",
		Example:           "  prytany session keepalive s-…",
		Args:              exactArgs(1, "ID"),
		ValidArgsFunction: a.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			out, err := fetch[api.KeptAlive](cmd.Context(), c, client.Call{Method: http.MethodPut, Path: "sessions/" + client.EscapeName(args[0])})
			if err != nil {
				return sessionError(err, args[0])
			}
			if a.json() {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintln(a.stdout, time.Duration(out.ExpiresInMS)*time.Millisecond)
			return err
		},
	}
}

func (a *app) sessionList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List sessions",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := fetchAll(cmd.Context(), c, "sessions", "", func(b []byte) ([]api.SessionInfo, string, error) {
				var p api.Sessions
				err := json.Unmarshal(b, &p)
				return p.Sessions, p.Next, err
			})
			if err != nil {
				return err
			}
			if a.json() {
				return printList(a, list)
			}
			t := newTable("ID", "NAME", "TTL", "LEFT") // what a session has is not in listings
			for _, s := range list {
				t.add(sessionRow(s)...)
			}
			return a.print(t)
		},
	}
}

func sessionRow(s api.SessionInfo) []string {
	return []string{s.ID, dash(s.Name), (time.Duration(s.TTLMS) * time.Millisecond).String(), ms(s.ExpiresInMS)}
}

func (a *app) sessionInfo() *cobra.Command {
	return &cobra.Command{
		Use:               "info ID",
		Short:             "Show what a session holds and waits for",
		Args:              exactArgs(1, "ID"),
		ValidArgsFunction: a.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := fetch[api.Session](cmd.Context(), c, client.Call{Path: "sessions/" + client.EscapeName(args[0])})
			if err != nil {
				return sessionError(err, args[0])
			}
			if a.json() {
				return a.printJSON(s)
			}
			t := newTable("ID", "NAME", "TTL", "LEFT", "HOLDS", "WAITS", "KEYS")
			t.add(append(sessionRow(s.SessionInfo), fmt.Sprint(len(s.Holds)), fmt.Sprint(len(s.Waits)), fmt.Sprint(len(s.Keys)))...)
			if err := a.print(t); err != nil || a.output == "name" {
				return err
			}
			for _, h := range s.Holds {
				a.printf("holds  %s (fence %d)\n", h.Name, h.Fence)
			}
			for _, w := range s.Waits {
				a.printf("waits  %s\n", w)
			}
			for _, k := range s.Keys {
				a.printf("key    %s\n", k)
			}
			return nil
		},
	}
}

func (a *app) sessionEnd() *cobra.Command {
	return &cobra.Command{
		Use:               "end ID",
		Short:             "End a session with all its locks, waits and keys",
		Args:              exactArgs(1, "ID"),
		ValidArgsFunction: a.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
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
		return failure(codeNotFound, "there is no session %s; it may have ended", id).try("prytany session list")
	}
	return err
}
