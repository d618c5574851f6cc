package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/nodes"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/load"
)

// How the leader can be made to go.
const (
	byKill     = "kill"
	byPause    = "pause"
	byTransfer = "transfer"
)

// A failing is the settings of bench failover.
type failing struct {
	settings
	by      string
	rounds  int
	rest    time.Duration
	control string
}

func failoverCommand(a *cli.App) *cobra.Command {
	f := &failing{}
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "Measure for how long writes stand still when the leader goes",
		Long: `Clients write all the time. In each round the leader goes, and what counts is the longest time in which no write was
acknowledged to anybody. --by kill and --by pause break the leader of a cluster that prytany dev runs, and mend it again;
--by transfer has any cluster hand the lead over, as before maintenance.

Kills of real processes, broken links and disks: make failover, in the source.`,
		Example: "  prytany bench failover\n  prytany bench failover --by transfer --rounds 20",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.command(cmd, a) },
	}
	fl := cmd.Flags()
	fl.IntVar(&f.clients, "clients", 8, "how many writes are under way at a time")
	fl.StringVar(&f.by, "by", byKill, "`how` the leader goes: kill, pause or transfer")
	fl.IntVar(&f.rounds, "rounds", 5, "how often")
	fl.DurationVar(&f.rest, "rest", 3*time.Second, "how long all is well between the rounds, and how long at most a round is watched")
	fl.StringVar(&f.control, "control", nodes.DevControl, "`address` where the running dev cluster takes orders [$PRYTANY_DEV]")
	fl.StringVar(&f.prefix, "prefix", "bench/", "what the names of all keys begin with")
	fl.BoolVar(&f.keep, "keep", false, "leave what was written where it is")
	return cmd
}

func (f *failing) command(cmd *cobra.Command, a *cli.App) error {
	help := cmd.CommandPath() + " --help"
	switch {
	case !slices.Contains([]string{byKill, byPause, byTransfer}, f.by):
		return cli.Usage("bench failover: --by %s: want kill, pause or transfer", f.by).Try(help)
	case f.rounds < 1 || f.rounds > 10000:
		return cli.Usage("bench failover: --rounds %d: want 1 to 10000", f.rounds).Try(help)
	case f.rest < 100*time.Millisecond:
		return cli.Usage("bench failover: --rest %s: want 100ms or more", f.rest).Try(help)
	}
	if err := f.check(cmd); err != nil {
		return err
	}
	f.size = leastValue
	ctx := cmd.Context()
	b, err := f.connect(ctx, a, 0)
	if err != nil {
		return err
	}
	if f.by != byTransfer {
		if _, err := f.leader(ctx); err != nil {
			return err
		}
	}
	w := &watchers{entries: newEntries(b, "put")}
	if !f.keep {
		defer func() { _ = b.tidy(ctx, w) }()
	}
	out, err := f.run(ctx, w)
	if err != nil {
		return err
	}
	return f.conclude(ctx, a, w, out)
}

// A round is what came of one.
type round struct {
	From      string  `json:"from"` // who led
	To        string  `json:"to"`   // who leads now
	OutageMS  float64 `json:"outage_ms"`
	FirstMS   float64 `json:"first_ms"`   // from the order to the first write acknowledged that had begun after it
	LongestMS float64 `json:"longest_ms"` // the slowest write
	Failed    int     `json:"failed"`
}

// A failoverReport is what -o json prints.
type failoverReport struct {
	Bench    string   `json:"bench"`
	By       string   `json:"by"`
	Clients  int      `json:"clients"`
	Rounds   []round  `json:"rounds"`
	MedianMS float64  `json:"median_ms"`
	MaxMS    float64  `json:"max_ms"`
	Verified int64    `json:"verified"`
	Wrong    []string `json:"wrong"`
}

// run has the clients write, and the leader go, round after round.
func (f *failing) run(ctx context.Context, w *watchers) (out []round, err error) {
	work, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range f.clients {
		all.Go(func() { w.write(work, i) })
	}
	defer func() { stop(); all.Wait() }()
	for n := range f.rounds {
		cli.Pause(ctx, f.rest)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		w.forget()
		began := time.Now()
		from, mend, err := f.strike(ctx, w.clients[0])
		if err != nil {
			return nil, err
		}
		w.await(ctx, began, f.rest)
		to, err := mend()
		if err != nil {
			return nil, err
		}
		r := w.judge(began)
		r.From, r.To = from, to
		out = append(out, r)
		w.app.Say("prytany: round %d of %d: %s went, no write for %s", n+1, f.rounds, from, msText(r.OutageMS))
	}
	return out, nil
}

// strike makes the leader go. mend undoes it and says who leads.
func (f *failing) strike(ctx context.Context, c *client.Client) (from string, mend func() (to string, err error), err error) {
	if f.by == byTransfer {
		out, err := cli.Fetch[api.HandedOver](ctx, c, client.Call{
			Method: http.MethodPost, Path: "leader:transfer", Body: []byte("{}"), Header: http.Header{"Content-Type": {api.TypeJSON}},
		})
		return out.From, func() (string, error) { return out.To, nil }, err
	}
	if from, err = f.leader(ctx); err != nil {
		return "", nil, err
	}
	if err := f.order(ctx, f.by, from); err != nil {
		return "", nil, err
	}
	undo := map[string]string{byKill: "restart", byPause: "resume"}[f.by]
	return from, func() (string, error) {
		to, err := f.leader(ctx)
		return to, errors.Join(err, f.order(context.WithoutCancel(ctx), undo, from))
	}, nil
}

// order has the dev cluster do something to a node.
func (f *failing) order(ctx context.Context, do, node string) error {
	_, err := nodes.SendOrder(ctx, f.control, do, []string{node})
	if errors.Is(err, nodes.ErrNoDev) {
		return cli.Failure(cli.CodeUnavailable, "bench failover --by %s: %v at %s", f.by, nodes.ErrNoDev, f.control).
			Try("prytany dev, or prytany bench failover --by transfer")
	}
	return err
}

// leader asks the dev cluster who leads, for up to ten seconds.
func (f *failing) leader(ctx context.Context) (string, error) {
	for end := time.Now().Add(10 * time.Second); ; cli.Pause(ctx, 20*time.Millisecond) {
		text, err := nodes.SendOrder(ctx, f.control, "nodes", nil)
		if errors.Is(err, nodes.ErrNoDev) {
			return "", f.order(ctx, "nodes", "")
		}
		var all []nodes.DevNode
		if err == nil {
			err = json.Unmarshal([]byte(text), &all)
		}
		if err != nil {
			return "", err
		}
		for _, n := range all {
			if n.Leader && n.State == "up" {
				return n.Name, nil
			}
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return "", cli.Failure(cli.CodeUnavailable, "bench failover: nobody leads").Try("prytany dev nodes")
		}
	}
}

// conclude verifies, prints and judges.
func (f *failing) conclude(ctx context.Context, a *cli.App, w *watchers, rounds []round) (err error) {
	rep := failoverReport{Bench: "failover", By: f.by, Clients: f.clients, Rounds: rounds, Wrong: []string{}}
	if rep.Verified, err = w.verify(ctx); err != nil {
		return err
	}
	rep.Wrong = append(rep.Wrong, w.wrong...)
	var gaps []float64
	for _, r := range rounds {
		gaps = append(gaps, r.OutageMS)
	}
	slices.Sort(gaps)
	rep.MedianMS, rep.MaxMS = gaps[len(gaps)/2], gaps[len(gaps)-1]
	if a.JSON() {
		err = a.PrintJSON(rep)
	} else {
		t := cli.NewTable("ROUND", "FROM", "TO", "OUTAGE", "FIRST WRITE", "SLOWEST WRITE", "FAILED")
		for i, r := range rounds {
			t.Add(fmt.Sprint(i+1), cli.Dash(r.From), cli.Dash(r.To), msText(r.OutageMS), msText(r.FirstMS), msText(r.LongestMS), fmt.Sprint(r.Failed))
		}
		err = a.Print(t)
		a.Say("prytany: outage %s in half of all rounds, %s at most; %d acknowledged writes were looked for", msText(rep.MedianMS), msText(rep.MaxMS), rep.Verified)
	}
	if err != nil {
		return err
	}
	return report{Wrong: rep.Wrong}.verdict(load.Result{})
}
