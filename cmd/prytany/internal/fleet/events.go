package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// maxEvents is the most that one node tells at once.
const maxEvents = 1000

func (a app) eventsCommand() *cobra.Command {
	var nodes []string
	var newest int
	var watch bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what the nodes saw of each other: suspicions, claims, changes of leader",
		Long: `Asks every node what it saw and did: links lost and found, suspicions, claims to lead and why they were refused, who led
since when, members that came and went. Each line is one node's own view; they are put in order by the nodes' clocks.

A node keeps its newest 2,000 events, in memory: they are gone when it restarts. A node that does not answer is named on
stderr. With --watch it goes on, over lost connections and restarts, until a signal comes. With --group only what is about that
group is shown.`,
		Example: "  prytany events\n  prytany events -g web\n  prytany events --node n1 --node n2 -n 200\n  prytany events --watch -o jsonl",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if newest < 1 || newest > maxEvents {
				return cli.Usage("events: -n %d: want 1 to %d", newest, maxEvents).Try("prytany events -n 100")
			}
			of := ""
			if cmd.Flags().Changed("group") {
				of = a.Group
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			path := fmt.Sprintf("/v1/events?limit=%d", newest)
			if of != "" {
				path = fmt.Sprintf("/v1/events?limit=%d", maxEvents)
			}
			switch {
			case a.Curl && watch:
				return a.showCurl(c, "/v1/events", api.TypeNDJSON)
			case a.Curl:
				return a.showCurl(c, path, "")
			}
			return a.events(cmd.Context(), c, look{nodes, path, newest, watch, of})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&nodes, "node", nil, "ask only these `nodes` (default: all)")
	f.IntVarP(&newest, "newest", "n", 50, "how many of the newest events to show")
	f.BoolVar(&watch, "watch", false, "go on, and show what happens")
	_ = cmd.RegisterFlagCompletionFunc("node", a.CompleteNodes())
	return cmd
}

// A look is which events are to be shown.
type look struct {
	nodes  []string // of these; nil: of all
	path   string   // to ask each for
	newest int
	watch  bool   // go on
	group  string // only those about it; "": all
}

// wants reports whether e is to be shown.
func (l look) wants(e api.NodeEvent) bool { return l.group == "" || e.Group == l.group }

// events shows the newest events, and goes on if it is to.
func (a app) events(ctx context.Context, c *client.Client, l look) error {
	members, err := a.members(ctx, c, l.nodes)
	if err != nil {
		return err
	}
	answers, err := askEvery[api.NodeEvents](ctx, a, members, l.path)
	if err != nil && !l.watch {
		return err
	}
	var all []api.NodeEvent
	next := map[string]uint64{} // by the node's id
	for i, m := range members {
		if list := answers[i]; list != nil {
			all = append(all, list.Events...)
			next[m.ID] = list.Next
		}
	}
	all = slices.DeleteFunc(all, func(e api.NodeEvent) bool { return !l.wants(e) })
	slices.SortStableFunc(all, func(x, y api.NodeEvent) int { return cmp.Or(compareTimes(x, y), cmp.Compare(x.Node, y.Node)) })
	all = all[max(len(all)-l.newest, 0):]
	if !l.watch {
		return a.showEvents(all)
	}
	p := a.newPaper(members)
	for _, e := range all {
		if err := p.print(e); err != nil {
			return err
		}
	}
	w := &watcher{app: a, client: c, only: l.nodes, next: next, events: make(chan api.NodeEvent), wants: l.wants}
	return cli.Unless(ctx, w.run(ctx, members, p))
}

// compareTimes orders events by time; a time that cannot be read is the earliest.
func compareTimes(x, y api.NodeEvent) int {
	if x.Node == y.Node {
		return cmp.Compare(x.ID, y.ID) // whatever its clock did
	}
	s, _ := time.Parse(time.RFC3339Nano, x.Time)
	t, _ := time.Parse(time.RFC3339Nano, y.Time)
	return s.Compare(t)
}

// shownTime is a time of an event in milliseconds.
func shownTime(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return cli.Dash(text)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// head is the header of a table of events.
func (a app) head() []string {
	if a.Output == "wide" {
		return []string{"TIME", "NODE", "EVENT", "GROUP", "ABOUT", "BALLOT", "ID", "TEXT"}
	}
	return []string{"TIME", "NODE", "EVENT", "GROUP", "ABOUT", "TEXT"}
}

// row is an event as a row of it.
func (a app) row(e api.NodeEvent) []string {
	row := []string{shownTime(e.Time), e.Node, e.Kind, cli.Dash(e.Group), cli.Dash(e.Peer)}
	if a.Output == "wide" {
		row = append(row, cli.Dash(e.Ballot), fmt.Sprint(e.ID))
	}
	return append(row, e.Text)
}

func (a app) showEvents(all []api.NodeEvent) error {
	switch {
	case a.JSON():
		return cli.PrintList(a.App, all)
	case a.Output == "name":
		for _, e := range all {
			if err := a.PrintName(e.Kind); err != nil {
				return err
			}
		}
		return nil
	}
	t := cli.NewTable(a.head()...)
	for _, e := range all {
		t.Add(a.row(e)...)
	}
	return a.Print(t)
}

// A paper is a table that grows: its widths are guessed.
type paper struct {
	app
	widths []int
	headed bool
}

func (a app) newPaper(members []api.Member) *paper {
	name := len("ABOUT")
	for _, m := range members {
		name = max(name, utf8.RuneCountInString(m.Name))
	}
	p := &paper{app: a, widths: []int{24, name, len("discontent"), len("GROUP"), name}}
	if a.Output == "wide" {
		p.widths = append(p.widths, len("BALLOT"), 16)
	}
	return p
}

// print prints one event.
func (p *paper) print(e api.NodeEvent) error {
	if p.JSON() || p.Output == "name" {
		if p.Output == "name" {
			return p.PrintName(e.Kind)
		}
		return p.PrintJSON(e)
	}
	if !p.headed {
		p.headed = true
		p.line(p.head())
	}
	p.line(p.row(e))
	return nil
}

func (p *paper) line(cells []string) {
	var b strings.Builder
	for i, cell := range cells {
		if i == len(cells)-1 {
			b.WriteString(cell)
			break
		}
		fmt.Fprintf(&b, "%-*s  ", p.widths[i], cell)
	}
	p.Printf("%s\n", b.String())
}
