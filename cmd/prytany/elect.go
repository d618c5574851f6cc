package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/sidecar"
	"github.com/prytany/prytany/internal/api"
)

// electFlags are the flags of `prytany elect`.
type electFlags struct {
	holdFlags
	value  string
	repeat bool
	listen string
}

func (a app) electCommand() *cobra.Command {
	f := electFlags{holdFlags: holdFlags{noun: "election"}}
	cmd := &cobra.Command{
		Use:   "elect NAME [flags] [-- CMD [ARG…]]",
		Short: "Run a command only while leading an election",
		Long: `Campaigns in the election NAME, and runs CMD while this process leads, as lock does while it holds a lock: an election
is a lock with a published value. When CMD ends, the leader resigns. With --repeat it campaigns again, behind those who
wait already, after CMD has ended and after the leadership was lost, until a signal comes.

CMD finds PRYTANY_ELECTION_NAME, PRYTANY_ELECTION_TERM and PRYTANY_ELECTION_SESSION in its environment. The term is a
fence: it grows with every election.

With --listen any program on this machine can ask over HTTP who leads, with CMD or without:

  GET /         {"name","leader","session","term","value","is_leader","since_ms","age_ms"}; an ETag that changes with the
                leader, its value and is_leader; with If-None-Match and ?wait=30s the answer comes when it has changed
  GET /healthz  503 while this process leads and cannot renew its lease

Without CMD and --listen the term is printed as JSON, and held until a signal comes.

Exit codes are those of lock.`,
		Example: "  prytany elect web --value http://10.0.0.1:8080 -- ./server\n  prytany elect web --repeat --listen 127.0.0.1:4040 -- ./worker\n" +
			"  prytany elect web --repeat --listen 127.0.0.1:4040 &\n  curl '127.0.0.1:4040/?wait=30s'",
		Args:              beforeDash,
		ValidArgsFunction: a.CompleteElections(),
		RunE: func(cmd *cobra.Command, args []string) error {
			argv, err := f.argv(cmd, args[1:])
			if err != nil {
				return err
			}
			code, err := a.elect(cmd.Context(), args[0], argv, f)
			a.Code = code
			return err
		},
	}
	f.define(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.value, "value", "", "what the leader publishes, up to 4 KiB")
	fl.BoolVar(&f.repeat, "repeat", false, "campaign again after the command's end or a loss")
	fl.StringVar(&f.listen, "listen", "", "tell over HTTP who leads, at this `address`; without a host on loopback only")
	cmd.MarkFlagsMutuallyExclusive("repeat", "no-wait")
	cmd.MarkFlagsMutuallyExclusive("repeat", "wait")
	return cmd
}

// elect campaigns and serves, once or until a signal comes.
func (a app) elect(ctx context.Context, name string, argv []string, f electFlags) (int, error) {
	c, err := a.ClientWith(f.ttl, nil)
	if err != nil {
		return 0, err
	}
	if a.Curl {
		body, err := json.Marshal(api.Campaign{TTL: f.ttl.String(), Value: f.value, Note: f.note})
		if err != nil {
			return 0, err
		}
		_, err = c.Call(ctx, client.Call{Method: http.MethodPut, Path: "elections/" + client.EscapeName(name), Query: f.waitQuery(), Body: body})
		return 0, err
	}
	defer func() { _ = c.Close() }() // leaves the queue, too
	side, stop, err := a.sidecar(ctx, c, name, f)
	if err != nil {
		return 0, err
	}
	defer stop()
	for again := time.Second; ; again = min(again*2, 30*time.Second) {
		began := time.Now()
		code, over, err := a.term(ctx, c, name, argv, f, side)
		if over || !f.repeat || ctx.Err() != nil {
			return code, err
		}
		if err != nil {
			e := a.Classify(err)
			a.Say("prytany: %s; campaigning again", e.Text)
		}
		if time.Since(began) > 30*time.Second {
			again = time.Second
		}
		if cli.Pause(ctx, again); ctx.Err() != nil { // a command that ends at once is no reason to hurry
			return code, nil
		}
	}
}

// term serves one term. over says that there must be no other.
func (a app) term(ctx context.Context, c *client.Client, name string, argv []string, f electFlags, side *sidecar.Sidecar) (code int, over bool, err error) {
	h, err := a.campaign(ctx, c, name, f)
	if err != nil {
		err = a.lockError(ctx, err, name, f.holdFlags)
		return 0, a.Classify(err).Code == cli.CodeUsage, err
	}
	t := tenure{h: h, c: c, name: name, argv: argv, f: f.holdFlags, quiet: f.listen != ""}
	left := h.Session().Remaining().Milliseconds()
	t.show = api.Term{Name: name, Session: h.Session().ID(), Term: h.Fence(), ExpiresInMS: &left, WaitedMS: h.Waited().Milliseconds()}
	t.env = []string{
		"PRYTANY_ELECTION_NAME=" + name, fmt.Sprintf("PRYTANY_ELECTION_TERM=%d", h.Fence()), "PRYTANY_ELECTION_SESSION=" + h.Session().ID(),
	}
	if side != nil {
		side.Lead(h)
		defer side.Lead(nil)
	}
	if f.repeat {
		a.Say("prytany: leads %s (term %d)", name, h.Fence())
	}
	code, err = a.serveTenure(ctx, &t)
	var e *cli.Error
	over = t.stop || errors.As(err, &e) && (e.Code == cli.CodeBeforeExec || e.Code == 126 || e.Code == 127)
	return code, over, err
}

// campaign waits to be elected as long as the flags say.
func (a app) campaign(ctx context.Context, c *client.Client, name string, f electFlags) (*client.Held, error) {
	begin, within := time.Now(), ctx
	if f.wait > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, f.wait)
		defer cancel()
	}
	e, err := cli.Fetch[api.Election](within, c, client.Call{Path: "elections/" + client.EscapeName(name)})
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return nil, err
	}
	ahead := ""
	if err == nil && e.Leader != nil {
		ahead = fmt.Sprintf("held by %s (fence %d), you would be %s in line", e.Leader.Owner, e.Leader.Term, cli.Ordinal(len(e.Candidates)+1))
	}
	limit := f.wait
	if limit > 0 {
		limit = max(limit-time.Since(begin), 1)
	}
	if f.try {
		if ahead != "" || len(e.Candidates) > 0 {
			return nil, cli.Failure(f.failCode, "election %s: %s", name, cli.OrElse(ahead, "others wait to lead")).Try("prytany leader " + cli.Shown(name))
		}
		limit = a.Timeout // somebody may have been quicker
	}
	if ahead != "" {
		a.Say("waiting for %s: %s", name, ahead)
	}
	talk, silence := context.WithCancel(ctx)
	defer silence()
	var told uint64
	if e.Leader != nil {
		told = e.Leader.Term
	}
	go a.tellQueue(talk, c, name, told)
	waiting := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	h, err := c.Election(name, client.ElectionConfig{
		Value: f.value, Note: f.note, Session: client.SessionConfig{TTL: f.ttl},
	}).Campaign(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, cli.Failure(f.failCode, "election %s was not won within %s", name, max(f.wait, limit)).Try("prytany leader " + cli.Shown(name))
	}
	return h, err
}

// sidecar begins to tell who leads, if --listen says so.
func (a app) sidecar(ctx context.Context, c *client.Client, name string, f electFlags) (*sidecar.Sidecar, func(), error) {
	if f.listen == "" {
		return nil, func() {}, nil
	}
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil {
		return nil, nil, cli.Usage("elect: --listen %s: want host:port", f.listen).Try("prytany elect " + cli.Shown(name) + " --listen 127.0.0.1:4040")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, cli.Failure(cli.CodeBeforeExec, "cannot listen on %s: %v", f.listen, cli.RootCause(err)).Try("prytany elect " + cli.Shown(name) + " --listen 127.0.0.1:0")
	}
	side := sidecar.New(name)
	ctx, cancel := context.WithCancel(ctx)
	go side.Observe(ctx, func(ctx context.Context, etag string, wait time.Duration) (sidecar.View, error) {
		return readElection(ctx, c, name, etag, wait)
	})
	srv := &http.Server{Handler: side, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() { _ = srv.Serve(ln) }()
	a.Say("prytany: tells who leads %s at http://%s/", name, ln.Addr())
	return side, func() { cancel(); _ = srv.Close() }, nil
}

// readElection reads an election when it is not as etag says any more, or after
// wait.
func readElection(ctx context.Context, c *client.Client, name, etag string, wait time.Duration) (sidecar.View, error) {
	r := client.Call{Path: "elections/" + client.EscapeName(name), Wait: wait, Header: http.Header{}}
	r.Query = map[string][]string{"wait": {wait.String()}}
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	rep, err := c.Call(ctx, r)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return sidecar.View{}, nil
	case err != nil:
		return sidecar.View{}, err
	case rep.Status == http.StatusNotModified:
		return sidecar.View{Same: true}, nil
	}
	v := sidecar.View{ETag: rep.Header.Get("ETag")}
	if err := json.Unmarshal(rep.Body, &v.Election); err != nil {
		return sidecar.View{}, fmt.Errorf("the server's answer makes no sense: %w", err)
	}
	return v, nil
}

func (a app) leaderCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:               "leader NAME",
		Short:             "Show who leads an election, and what it publishes",
		Example:           "  prytany leader web\n  prytany leader web -o json\n  prytany leader web --watch -o jsonl",
		Args:              cli.ExactArgs(1, "NAME"),
		ValidArgsFunction: a.CompleteElections(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Show(cmd, watch, args[0], func(ctx context.Context, c *client.Client) error {
				e, err := cli.Fetch[api.Election](ctx, c, client.Call{Path: "elections/" + client.EscapeName(args[0])})
				if err != nil && !errors.Is(err, client.ErrNotFound) {
					return err
				}
				if e.Leader == nil && !(watch && a.JSON()) {
					return cli.Failure(cli.CodeNotFound, "nobody leads %s", args[0]).Try("prytany elect " + cli.Shown(args[0]) + " -- CMD")
				}
				return a.showElection(e)
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

func (a app) showElection(e api.Election) error {
	if a.JSON() {
		if e.Candidates == nil {
			e.Candidates, e.Past = []api.Candidate{}, []api.Past{}
		}
		return a.PrintJSON(e)
	}
	t := cli.NewTable("LEADER", "TERM", "VALUE", "LEADS", "LEASE LEFT", "CANDIDATES")
	t.Add(e.Leader.Owner, fmt.Sprint(e.Leader.Term), cli.Dash(e.Leader.Value), cli.MS(e.Leader.HeldMS), cli.MS(e.Leader.ExpiresInMS), fmt.Sprint(len(e.Candidates)))
	if err := a.Print(t); err != nil || a.Output != "wide" {
		return err
	}
	for i, c := range e.Candidates {
		a.Printf("%s  %s  %s\n", cli.Ordinal(i+1), c.Owner, cli.Dash(c.Value))
	}
	return nil
}
